"""The tables of low rank, from the result files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.common import origin, read_result

METHODS = ("svd", "fwsvd", "asvd", "nmf")
BUDGETS = (0.8, 0.65, 0.5, 0.35, 0.2)
DATA = ("banking77", "sst2")


def cell(run: dict[str, Any], method: str, budget: float, phase: str, split: str = "test") -> str:
    """Return what one cell keeps; ``=`` where the recovery was not better on dev than the start, which is kept then."""
    found = run["cells"].get(f"{method} {budget} {phase}")
    if found is None:
        return "not run"
    before, kept = run["cells"][f"{method} {budget} before"], found[f"{split}_retention"]
    same = " =" if phase == "after" and all(found[name] == before[name] for name in ("dev", "test")) else ""
    return f"{kept['value']:.1%}" + (f" ({kept['low']:.1%} – {kept['high']:.1%})" if split == "test" else "") + same


def table(data: str) -> list[str]:
    """Return the table of one data set."""
    run = read_result(f"factorization/{data}")
    lines = ["| method | matrices left | parameters | dev, before | test, before | dev, after | test, after |", "|---|" + "---:|" * 6]
    for method in METHODS:
        for budget in BUDGETS:
            size = run["cells"].get(f"{method} {budget} before")
            if size is None:
                continue
            cells = [cell(run, method, budget, phase, split) for phase in ("before", "after") for split in ("dev", "test")]
            lines.append(f"| {method} | {size['matrices_left']:.1%} | {size['params']:,} | {' | '.join(cells)} |")
    return lines


RANKS = "factorization/ranks-banking77"
WAYS = {
    "sensitivity": "measured sensitivity (as shipped)",
    "one share": "the same share for every matrix",
    "energy": "energy alone (squared singular values of all matrices in one list)",
}


def ranks() -> list[str]:
    """Return what half of the matrices keep by how their ranks are shared out."""
    run, methods = read_result(RANKS), ("svd", "fwsvd", "asvd")
    lines = [f"| ranks by | {' | '.join(methods)} |", "|---|" + "---:|" * len(methods)]
    for way, title in WAYS.items():
        found = [run["cells"].get(f"{method} {way}", {}).get("test_retention") for method in methods]
        cells = [f"{one['value']:.1%} ({one['low']:.1%} – {one['high']:.1%})" if one else "not run" for one in found]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return [*lines, "", origin(RANKS)]


TABLES: dict[str, tuple[tuple[str, ...], Callable[[], list[str]]]] = {
    **{name: ((f"factorization/{name}",), lambda name=name: table(name)) for name in DATA},  # type: ignore[misc]
    "ranks": ((RANKS,), ranks),
}
"""Name -> the result files that it reads, and the function that makes its lines."""
