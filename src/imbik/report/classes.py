"""Where the choice loses against the teacher: labels and texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imbik.measure.values import Disagreement
from imbik.report.data import ReportData
from imbik.report.figures import Shown

_TEXTS = 12  # disagreements shown


@dataclass(frozen=True)
class ClassRow:
    """A label: what the choice loses on it."""

    label: str
    gap: Shown
    support: Shown
    student: Shown
    teacher: Shown


class Classes:
    """Where the choice loses against the teacher: labels and texts."""

    def __init__(self, data: ReportData) -> None:
        self.data = data

    def rows(self) -> list[ClassRow]:
        """Return the labels by how much F1 the choice loses against the teacher, worst first; empty where either lacks them."""
        data, rows = self.data, []
        chosen = data.results.get(data.choice.id)
        if not chosen or not data.baseline:
            return []
        for label in chosen.per_class:
            gap = data.figures.class_gap(data.run, chosen.id, label)
            if gap.value is None:
                continue
            row = ClassRow(
                label=label,
                gap=gap,
                support=data.figures.class_support(data.run, chosen.id, label),
                student=data.figures.class_f1(data.run, chosen.id, label),
                teacher=data.figures.class_f1(data.run, data.baseline.id, label),
            )
            rows.append((gap.value, row))
        return [row for _, row in sorted(rows, key=lambda pair: pair[0])]

    def disagreements(self) -> Sequence[Disagreement]:
        """Return texts on which teacher and choice differ."""
        return self.data.results.disagreements.get(self.data.chosen, ())[:_TEXTS]
