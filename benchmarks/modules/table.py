"""The table of any module's families of compression, from the result file."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.common import origin, read_result

VARIANTS = ("float", "prune", "low_rank", "share", "cluster", "int8 dynamic", "int8 static")


def families() -> list[str]:
    """Return bytes and p50 of every network and family."""
    run = read_result("modules/families")
    lines = [f"| | {' | '.join(run)} |", f"|---|{'---:|' * len(run)}"]
    for variant in VARIANTS:
        cells = []
        for network in run.values():
            one = network[variant]
            cells.append("–" if one is None else f"{one['bytes'] / 1e3:,.0f} kB, {one['p50_ms']:.3f} ms")
        lines.append(f"| {variant if variant == 'float' or variant.startswith('int8') else f'`{variant}`'} | {' | '.join(cells)} |")
    return [*lines, "", origin("modules/families")]


TABLES: dict[str, tuple[tuple[str, ...], Callable[[], list[str]]]] = {"families": (("modules/families",), families)}
"""Name -> the result files that it reads, and the function that makes its lines."""
