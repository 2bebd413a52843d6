"""The table of memory while a corpus grows, from the result file."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.common import read_result

NAME = "pretraining/memory"


def memory() -> list[str]:
    """Return one line a corpus."""
    lines = ["| corpus | blocks on disk | a tenth tokenized | all tokenized | peak of tokenizing | peak of the whole, training included |"]
    lines.append("|" + "---:|" * 6)
    for run in read_result(NAME)["runs"]:
        resident = [f"{mib:,} MiB" for mib in run["rss_mib"].values()]  # in the order of the columns
        lines.append(f"| {run['corpus_mb']:,} MB | {run['blocks_mb']:,} MB | {' | '.join(resident)} |")
    return lines


TABLES: dict[str, tuple[tuple[str, ...], Callable[[], list[str]]]] = {"memory": ((NAME,), memory)}
"""Name -> the result files that it reads, and the function that makes its lines."""
