"""The table of the nightly batch, from the result file."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.common import origin, read_result

BATCH = "predict/banking77"


def batch() -> list[str]:
    """Return one line for each model, number of rows and number of processes."""
    lines = ["| model | rows | processes | seconds | rows a second | largest process |", "|---|---:|---:|---:|---:|---:|"]
    for run in read_result(BATCH)["runs"]:
        size, rate = f"{run['rows']:,}", f"{run['rows'] / run['seconds']:,.0f}"
        cells = (f"`{run['model']}`", size, run["workers"], f"{run['seconds']:.1f}", rate, f"{run['peak_rss_mib']:.0f} MiB")
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return [*lines, "", origin(BATCH)]


TABLES: dict[str, tuple[tuple[str, ...], Callable[[], list[str]]]] = {"batch": ((BATCH,), batch)}
"""Name -> the result files that it reads, and the function that makes its lines."""
