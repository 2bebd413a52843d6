"""The tables of shared weights without training, from the result file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.common import origin, read_result

NAME = "sharing/banking77"
BITS = {"all values": "32", "256 values": "8 / 8", "64 values": "6 / 8", "32 values": "5 / 8", "16 values": "4 / 4", "8 values": "3 / 4"}
"""How many bits an index takes, in the checkpoint and in the ONNX file."""


def accuracy(cell: dict[str, Any]) -> str:
    """Return test accuracy with its interval."""
    found = cell["test"]
    return f"{100 * found['value']:.1f} % ({100 * found['low']:.1f} – {100 * found['high']:.1f})"


def kept(cell: dict[str, Any]) -> str:
    """Return the share of the teacher's test accuracy with its paired interval."""
    found = cell["test_retention"]
    return f"{100 * found['value']:.1f} % ({100 * found['low']:.1f} – {100 * found['high']:.1f})"


def layers() -> list[str]:
    """Return what is left right after layers share."""
    run = read_result(NAME)
    lines = ["| layers share in | started from | parameters | test accuracy |", "|---|---|---:|---:|"]
    lines.append(f"| no groups | | {run['teacher']['params']:,} | {accuracy(run['teacher'])} |")
    for name in ("3 groups, mean", "3 groups, first", "1 group, best"):
        groups, start = name.split(", ")
        if name in run["cells"]:
            lines.append(f"| {groups} | {start} | {run['cells'][name]['params']:,} | {accuracy(run['cells'][name])} |")
    return [*lines, "", origin(NAME)]


def widths() -> list[str]:
    """Return what narrower tables keep."""
    run = read_result(NAME)
    lines = ["| E | parameters | test accuracy | kept |", "|---:|---:|---:|---:|"]
    lines.append(f"| as it was | {run['teacher']['params']:,} | {accuracy(run['teacher'])} | |")
    for name, cell in run["cells"].items():
        if name.startswith("width "):
            lines.append(f"| {name.removeprefix('width ')} | {cell['params']:,} | {accuracy(cell)} | {kept(cell)} |")
    return lines


def values() -> list[str]:
    """Return what few values a matrix keep."""
    run = read_result(NAME)
    lines = ["| values a matrix | bits an index, checkpoint / ONNX | test accuracy | kept |", "|---:|---:|---:|---:|"]
    for name, bits in BITS.items():
        cell = run["cells"].get(name)
        if cell:
            lines.append(f"| {name.removesuffix(' values')} | {bits} | {accuracy(cell)} | {kept(cell)} |")
    return lines


TABLES: dict[str, tuple[tuple[str, ...], Callable[[], list[str]]]] = {
    "layers": ((NAME,), layers),
    "widths": ((NAME,), widths),
    "values": ((NAME,), values),
}
"""Name -> the result files that it reads, and the function that makes its lines."""
