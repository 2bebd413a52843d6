"""The table of the nightly batch, from the result file."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.common import origin, read_result

BATCH, RAY = "predict/banking77", "predict/banking77-ray"


def batch(source: str = BATCH, workers: str = "processes") -> list[str]:
    """Return one line for each model, number of rows and number of processes."""
    lines = [f"| model | rows | {workers} | seconds | rows a second | largest process |", "|---|---:|---:|---:|---:|---:|"]
    for run in read_result(source)["runs"]:
        size, rate = f"{run['rows']:,}", f"{run['rows'] / run['seconds']:,.0f}"
        cells = (f"`{run['model']}`", size, run["workers"], f"{run['seconds']:.1f}", rate, f"{run['peak_rss_mib']:.0f} MiB")
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return [*lines, "", origin(source)]


def actors() -> list[str]:
    """Return the same of actors on a Ray cluster."""
    return batch(RAY, "actors")


TABLES: dict[str, tuple[tuple[str, ...], Callable[[], list[str]]]] = {"batch": ((BATCH,), batch), "ray": ((RAY,), actors)}
"""Name -> the result files that it reads, and the function that makes its lines."""
