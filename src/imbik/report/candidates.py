"""The table of measurements, the plots, and the notes on candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imbik.advise.choice import slower_than_parent
from imbik.measure.measurement import Measurement
from imbik.report.columns import COLUMNS
from imbik.report.data import ReportData
from imbik.report.figures import Shown
from imbik.report.plot import Point, plot


@dataclass(frozen=True)
class Cell:
    """A number of the table, with its interval where it has one."""

    key: str
    figure: Shown
    interval: tuple[Shown, Shown] | None


@dataclass(frozen=True)
class Row:
    """A candidate of the table."""

    id: str
    kind: str
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Remarks:
    """What was noted on one candidate."""

    id: str
    said: Sequence[str]


@dataclass(frozen=True)
class Slowed:
    """A quantized candidate that is slower than its float parent."""

    id: str
    other: str
    p50: Shown
    before: Shown


@dataclass(frozen=True)
class Picture:
    """One plot of the candidates."""

    key: str
    svg: str


class Candidates:
    """The table of measurements, the plots, and the notes on candidates."""

    def __init__(self, data: ReportData) -> None:
        self.data = data

    def rows(self) -> list[Row]:
        """Return a row per measurement."""
        return [Row(m.id, self.data.kind(m), [self._cell(m.id, key) for key in COLUMNS]) for m in self.data.results.measurements]

    def _cell(self, identifier: str, key: str) -> Cell:
        return Cell(key, self.data.cell(identifier, key), self.data.interval(identifier, key))

    def plots(self) -> list[Picture]:
        """Return the Pareto plot against latency, size and marginal cost; without those that lack a number."""
        data, pictures = self.data, []
        for key in ("latency", "size", "cost"):
            points = [point for m in data.results.measurements if (point := self._point(m, key)) is not None]
            # a single point shows no trade-off
            if len(points) < 2:
                continue
            svg = plot(
                points,
                data.texts,
                x_label=data.texts(f"plot.{key}", currency=data.source.prices.currency),
                y_label=data.metric_name,
                title=data.texts("plot.svg", x=data.texts(f"plot.{key}_short"), y=data.metric_name),
                share=data.quality_unit == "share",
                less_is_better=data.less_is_better,
            )
            pictures.append(Picture(key, svg))
        return pictures

    def _point(self, m: Measurement, key: str) -> Point | None:
        # of a million requests and not of a year: in whole instances most candidates cost the same
        cost = self.data.source.cost(self.data.run, m.id, "always-on")
        x = {
            "latency": m.latency_ms.p50,
            "size": m.bytes / 1e6 if m.bytes else None,
            "cost": cost and cost.per_million,
        }[key]
        y = m.quality.value
        if not x or y is None:
            return None
        # the engine is part of the label only where it tells two apart: labels are what fills a
        # plot
        several = len([1 for other in self.data.results.measurements if other.name == m.name]) > 1
        label = m.id if several else m.name
        return Point(m.id, label, x, y, m.quality.low, m.quality.high, self.data.kind(m))

    def remarks(self) -> list[Remarks]:
        """Return what was noted on candidates while they were made and measured."""
        noted = [m for m in self.data.results.measurements if m.notes]
        return [Remarks(m.id, [self.data.texts.note(note) for note in m.notes]) for m in noted]

    def slower(self) -> list[Slowed]:
        """Return the quantized candidates that are slower than their float parents."""
        measurements, slowed = self.data.results.measurements, []
        for m in measurements:
            parent = slower_than_parent(m, measurements)
            if parent:
                slowed.append(Slowed(m.id, parent.id, self.data.cell(m.id, "p50"), self.data.cell(parent.id, "p50")))
        return slowed
