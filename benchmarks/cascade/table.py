"""The table of cascades, from the result file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.common import origin, read_result

NAME = "cascade/banking77"


def chains() -> list[str]:
    """Return what every chain answers rightly, beside what its last stage does alone."""
    found = read_result(NAME)
    lines = ["| chain, all texts read by every stage | test accuracy | its last stage alone |", "|---|---:|---:|"]
    for chain in found["chains"]:
        names = ", ".join(f"`{name}`" for name in chain["stages"])
        alone = found["alone"][chain["stages"][-1]]
        cells = [f"{100 * one['value']:.1f} % ({100 * one['low']:.1f} – {100 * one['high']:.1f})" for one in (chain, alone)]
        lines.append(f"| {names} | {' | '.join(cells)} |")
    return [*lines, "", *_at_target(found["target"]), "", origin(NAME)]


def _at_target(found: dict[str, Any]) -> list[str]:
    """Return who answers of the first chain, and what it leaves unanswered."""
    names = ", ".join(f"`{name}`" for name in found["stages"])
    missed = "" if found["met"] else " (no thresholds reach that; these come nearest)"
    shares = ", ".join(f"{100 * share:.0f} %" for share in found["shares"])
    answered, wrong, outside = 100 * found["answered"], 100 * found["wrong of answered"], found["outside"]
    right = 100 * found["test"]["value"]
    lines = [
        f"With `--target 1.0`, as many dev texts right as the teacher has{missed}, the stages {names} answer {shares} of test,",
        f"{right:.1f} % of them rightly. `--abstain {found['risk']:g}` answers {answered:.1f} % of test, {wrong:.1f} %",
        "of the answers wrong",
    ]
    if outside["texts"]:
        unanswered = f"{100 * outside['unanswered']:.1f} % of TREC's {outside['texts']} test questions"
        lines[-1] += f", and leaves {unanswered}, which are not of the task, unanswered"
    lines[-1] += "."
    return lines


TABLES: dict[str, tuple[tuple[str, ...], Callable[[], list[str]]]] = {"chains": ((NAME,), chains)}
"""Name -> the result files that it reads, and the function that makes its lines."""
