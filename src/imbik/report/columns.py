"""The columns of a measurement: where each stands, in which unit it is shown, and what it is called where space is short.

The page, Markdown, the terminal, ``imbik measure`` and ``imbik compare-architectures`` all show these; their headings stand in group
``table`` of ``locale/*.yaml`` under the column's key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from imbik.measure.measurement import Measurement
from imbik.measure.quantities import dev_retention, number, read


@dataclass(frozen=True)
class Column:
    """One number of every measurement.

    Attributes:
        key: its name, and that of its heading.
        path: where it stands in a measurement, or which derived quantity it is.
        kind: ``stored`` in the measurement; ``derived`` from it and the baseline's (:func:`imbik.measure.quantities.read`);
            ``dev_retention`` (:func:`imbik.measure.quantities.dev_retention`).
        unit: see :meth:`imbik.locale.phrases.Phrases.unit`; ``quality`` is a share or a number, as the metric has it.
        scale: the stored number times this is in ``unit``.
        digits: decimals on the terminal.
        interval: path of the group whose ``low`` and ``high`` stand beside it.
    """

    key: str
    path: str
    unit: str
    scale: float = 1.0
    kind: Literal["stored", "derived", "dev_retention"] = "stored"
    digits: int = 2
    interval: str | None = None

    def value(self, m: Measurement, baseline: Measurement | None) -> float | None:
        """Return the number as it is stored or derived; None where it was not measured."""
        if self.kind == "stored":
            return number(m, self.path)
        if self.kind == "dev_retention":
            return dev_retention(m, baseline) if baseline else None
        return read(self.path, m, baseline).value

    def plain(self, m: Measurement, baseline: Measurement | None) -> str:
        """Return the number as the terminal shows it."""
        value = self.value(m, baseline)
        if value is None:
            return "–"
        # one decimal: intervals of some hundred rows are wider than a tenth of a per cent
        if self.unit == "share":
            return f"{100 * value:.1f} %"
        shown = f"{value * self.scale:.{self.digits}f}"
        # a model of 4 kB is not of 0.0 MB
        return shown if float(shown) or not value else f"{value * self.scale:.2g}"


_ALL = (
    Column("quality", "quality.value", "quality", digits=4, interval="quality"),
    Column("retention", "retention.value", "share", interval="retention"),
    Column("dev_retention", "dev_quality.value", "share", kind="dev_retention"),
    Column("p50", "latency_ms.p50", "ms"),
    Column("p95", "latency_ms.p95", "ms"),
    Column("speedup", "speedup", "times", kind="derived", digits=1),
    Column("items_per_s", "throughput.items_per_s", "per_s", digits=0),
    Column("throughput_gain", "throughput_gain", "times", kind="derived", digits=1),
    Column("megabytes", "bytes", "mb", 1e-6, digits=1),
    Column("params", "params", "count", digits=0),
    Column("layers", "architecture.layers", "count"),
    Column("hidden", "architecture.hidden", "count"),
    Column("heads", "architecture.heads", "count"),
    Column("peak_rss", "peak_rss_bytes", "mb", 1e-6),
    Column("cold_start", "cold_start_s", "s"),
    Column("cpu", "cpu_s_per_1000", "s", digits=3),
    Column("ece", "calibration.ece", "number", digits=4),
)
COLUMNS: Mapping[str, Column] = {column.key: column for column in _ALL}
"""Every column by key, in the order of the page's table."""

MARKDOWN = ("params", "megabytes", "quality", "retention", "p50", "p95", "speedup", "items_per_s", "throughput_gain", "peak_rss")
TIPPED = ("quality", "retention", "p50", "items_per_s", "megabytes", "params")
"""Columns that a point of the plot shows."""

TERMINAL = ("retention", "dev_retention", "p50", "p95", "items_per_s", "throughput_gain", "speedup", "megabytes")
"""Columns of the terminal's table, behind quality and its interval; their headings stand in group ``terminal``."""
