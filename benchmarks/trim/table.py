"""The table of a multilingual encoder trimmed to Turkish, from the result file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.common import origin, read_result


def turkish() -> list[str]:
    """Return what the encoder is before and after, what was compared, and what memory a long corpus takes."""
    run = read_result("trim/turkish")
    before, after = run["bytes_before"] / 1e6, run["bytes_after"] / 1e6
    return [
        "| | before | after |",
        "|---|---:|---:|",
        f"| word pieces | {run['pieces_before']:,} | {run['pieces_after']:,} |",
        f"| parameters | {run['parameters_before'] / 1e6:.1f}M | {run['parameters_after'] / 1e6:.1f}M |",
        f"| folder | {before:.1f} MB | {after:.1f} MB ({run['share_of_bytes']:.0%}) |",
        f"| int8 artefact of a classifier | | {run['int8']['bytes'] / 1e6:.1f} MB |",
        "",
        origin("trim/turkish"),
        "",
        *_compared(run["answers"], run["held_back"]),
        *_memory(run),
    ]


def _compared(answers: Mapping[str, Any], held: Mapping[str, Any]) -> list[str]:
    return [
        f"* Of {answers['texts']} texts that were counted, {answers['cut_alike']} are cut as before; the largest difference of their "
        f"states is {answers['largest_difference_cut_alike']:.1g}.",
        f"* Of the tokens of {held['texts']:,} held-back texts {held['gone']:.2%} need a piece that is gone, in {held['touched']:.1%} of "
        f"the texts; they become {held['longer'] - 1:.2%} longer. Unknown are {held['unknown_before']:.4%} before and "
        f"{held['unknown_after']:.4%} after.",
    ]


def _memory(run: Mapping[str, Any]) -> list[str]:
    said = f"* {run['documents']:,} documents were counted, and the model was written, in {run['seconds']:.0f} s."
    if not run.get("memory"):
        return [said]
    short, long = run["memory"]
    return [
        said,
        f"* While {long['bytes'] / 1e9:.1f} GB of text are counted ({long['seconds'] / 60:.0f} minutes), the process holds "
        f"{long['peak'] / 1e6:.0f} MB at most, {short['peak'] / 1e6:.0f} MB with a ninth of that text and "
        f"{long['peak_before'] / 1e6:.0f} MB before it begins.",
    ]


TABLES: dict[str, tuple[tuple[str, ...], Callable[[], list[str]]]] = {"turkish": (("trim/turkish",), turkish)}
"""Name -> the result files that it reads, and the function that makes its lines."""
