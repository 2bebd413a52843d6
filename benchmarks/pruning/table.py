"""The table of pruning without training, from the result file."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import Any

from benchmarks.common import origin, read_result

IMPORTANCES = ("fisher", "taylor", "activation", "magnitude")
REPAIRS = ("none", "masks", "matrices")
SEEDS = (0, 1, 2)
DATA = ("trec",)


def _cells(run: dict[str, Any], importance: str, repair: str, share: float) -> list[dict[str, Any]]:
    """Return the finished draws of one way of cutting."""
    names = (f"{importance} {repair} {share} {seed}" for seed in SEEDS)
    return [run["cells"][name] for name in names if name in run["cells"]]


def cell(run: dict[str, Any], importance: str, repair: str, share: float) -> str:
    """Return what is kept: of one draw with its paired interval, of several their mean, the least and the most."""
    found = [one["test_retention"] for one in _cells(run, importance, repair, share)]
    if not found:
        return "not run"
    if len(found) == 1:
        return f"{100 * found[0]['value']:.1f} % ({100 * found[0]['low']:.1f} – {100 * found[0]['high']:.1f})"
    values = [100 * one["value"] for one in found]
    return f"{fmean(values):.1f} % ({min(values):.1f} – {max(values):.1f}, {len(values)} draws)"


def half(data: str) -> list[str]:
    """Return what half of the operations keep."""
    run = read_result(f"pruning/{data}")
    lines = ["| importance | no repair | `masks` | `matrices` |", "|---|---:|---:|---:|"]
    for importance in IMPORTANCES:
        lines.append(f"| `{importance}` | {' | '.join(cell(run, importance, repair, 0.5) for repair in REPAIRS)} |")
    return [*lines, "", origin(f"pruning/{data}")]


TABLES: dict[str, tuple[tuple[str, ...], Callable[[], list[str]]]] = {
    name: ((f"pruning/{name}",), lambda name=name: half(name))  # type: ignore[misc]
    for name in DATA
}
"""Name -> the result files that it reads, and the function that makes its lines."""
