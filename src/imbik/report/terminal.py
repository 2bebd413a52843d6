"""A run as a table on the terminal: one line a candidate, the Pareto front and the choice marked."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from imbik.advise.choice import slowed_down
from imbik.measure.quantities import dev_retention
from imbik.measure.results import Results
from imbik.types import Measurement


def results_table(results: Results) -> Table:
    """Candidates in the order they were measured; ``●`` on the Pareto front (quality, latency, size), ``►`` the choice."""
    base = results.get(results.baseline)
    metric = base.quality.get("metric", "quality") if base else "quality"
    table = Table(title=f"{results.data.get('source', '')}: {metric} on test with 95 % interval; speed against {results.baseline}")
    if any(slowed_down(m, results.measurements) for m in results.measurements):
        table.caption = "▼ slower for single requests than the same model in float"
    table.add_column("")
    table.add_column("candidate", no_wrap=True)
    for column in (metric, "95 %", "retention", "dev ret.", "p50 ms", "p95 ms", "items/s", "× batch", "÷ p50", "MB"):
        table.add_column(column, justify="right", no_wrap=True)
    for measurement in results.measurements:
        table.add_row(*_row(measurement, base, results))
    return table


def _row(m: Measurement, base: Measurement | None, results: Results) -> list[str]:
    chosen = results.choice is not None and results.choice.get("id") == m.id
    mark = ("►" if chosen else " ") + ("●" if m.id in results.pareto else " ")
    mark += "▼" if slowed_down(m, results.measurements) else ""
    quality = m.quality
    retention = m.retention or {}
    dev = dev_retention(m, base) if base else None
    rate, slow = m.throughput.get("items_per_s"), m.latency_ms.get("p50")
    return [
        mark,
        m.id,
        _number(quality.get("value"), 4),
        f"{_number(quality.get('low'), 3)}–{_number(quality.get('high'), 3)}",
        _percent(retention.get("value")),
        _percent(dev),
        _number(slow, 2),
        _number(m.latency_ms.get("p95"), 2),
        _number(rate, 0),
        _number(_ratio(rate, base.throughput.get("items_per_s") if base else None), 1),
        _number(_ratio(base.latency_ms.get("p50") if base else None, slow), 1),
        _number(m.bytes / 1e6, 1),
    ]


def choice_line(results: Results) -> str:
    """The choice and its reason in one line."""
    choice = results.choice or {}
    line = f"Choice: {choice.get('id') or 'none'}. {choice.get('why', '')}"
    batch = choice.get("batch") or {}
    if batch.get("id") and batch["id"] != choice.get("id") and batch.get("items_per_s"):
        line += f" For batches {batch['id']} is the fastest: {batch['items_per_s']:,.0f} texts/s."
    return line


def _ratio(one: Any, other: Any) -> float | None:
    return one / other if one is not None and other else None


def _number(value: Any, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _percent(value: Any) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
