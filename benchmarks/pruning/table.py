"""The table of pruning without training, from the result file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import fmean
from typing import Any

from benchmarks.common import origin, read_result

IMPORTANCES = ("fisher", "taylor", "activation", "magnitude")
REPAIRS = ("none", "masks", "matrices")
SEEDS = (0, 1, 2)
DATA = ("trec",)


def _cells(run: dict[str, Any], importance: str, repair: str, share: float | str) -> list[dict[str, Any]]:
    """Return the finished draws of one way of cutting."""
    names = (f"{importance} {repair} {share} {seed}" for seed in SEEDS)
    return [run["cells"][name] for name in names if name in run["cells"]]


def cell(run: dict[str, Any], importance: str, repair: str, share: float | str) -> str:
    """Return what is kept: of one draw with its paired interval, of several their mean, the least and the most."""
    found = [one["test_retention"] for one in _cells(run, importance, repair, share)]
    if not found:
        return "not run"
    if len(found) == 1:
        return f"{100 * found[0]['value']:.1f} % ({100 * found[0]['low']:.1f} – {100 * found[0]['high']:.1f})"
    values = [100 * one["value"] for one in found]
    return f"{fmean(values):.1f} % ({min(values):.1f} – {max(values):.1f}, {len(values)} draws)"


def half(data: str, share: float | str) -> list[str]:
    """Return what half of the operations, or of every layer's heads and units, keep."""
    run = read_result(f"pruning/{data}")
    lines = ["| importance | no repair | `masks` | `matrices` |", "|---|---:|---:|---:|"]
    for importance in IMPORTANCES:
        lines.append(f"| `{importance}` | {' | '.join(cell(run, importance, repair, share) for repair in REPAIRS)} |")
    return [*lines, "", origin(f"pruning/{data}")]


TABLES: dict[str, tuple[tuple[str, ...], Callable[[], list[str]]]] = {
    f"{name}{ending}": ((f"pruning/{name}",), partial(half, name, share))
    for name in DATA
    for ending, share in (("", 0.5), ("-halves", "halves"))
}
"""Name -> the result files that it reads, and the function that makes its lines."""
