"""What tasks share that answer a text (or a pair of texts) with one row of logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from imbik.tasks.answers.records import LABEL_TYPES, label_columns, most_probable
from imbik.tasks.formulas import per_label
from imbik.tasks.outputs import Array, only
from imbik.tasks.task import Answer, Decoded, Task

Floats = NDArray[np.float32]


class SequenceTask(Task):
    """A task whose models give ``logits`` (N, L)."""

    architecture: ClassVar[str] = "SequenceClassification"


class LabelTask(SequenceTask):
    """A task whose answers are labels with probabilities (N, L)."""

    record_types: ClassVar[Mapping[str, type]] = LABEL_TYPES

    def width(self, decoded: Decoded) -> int:
        """Return L."""
        return int(only(decoded).shape[1])

    def per_class(self, decoded: Decoded, targets: Array, labels: Sequence[str]) -> Mapping[str, Mapping[str, float]]:
        """Compute ``precision``, ``recall``, ``f1`` and ``support`` of every label by name."""
        return per_label(self.predicted(decoded), targets, labels)

    def answers(self, decoded: Decoded, labels: Sequence[str], texts: Sequence[str], pairs: Sequence[str] | None, top: int) -> list[Answer]:
        """Return ``{"labels": [{"label", "probability"}, …]}`` of each text, the most probable first."""
        probabilities = only(decoded)
        return [
            {"labels": [{"label": labels[i], "probability": float(row[i])} for i in best]}
            for row, best in zip(probabilities, most_probable(probabilities, top), strict=True)
        ]

    def columns(self, decoded: Decoded, labels: Sequence[str], top: int) -> dict[str, Sequence[Any]]:
        """Return ``label``, ``probability``, ``label_2``, … as columns."""
        return label_columns(only(decoded), labels, top)

    def lines(self, answer: Answer) -> list[tuple[str, float]]:
        """Return a label and its probability a line."""
        return [(one["label"], one["probability"]) for one in answer["labels"]]
