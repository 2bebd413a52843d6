"""Shared weights without training: what a fine-tuned teacher keeps right after its layers, tables or values are shared.

    python -m benchmarks.sharing.run --teacher DIR --data DATA --name banking77 --work DIR [--minutes M]

One cell a way of sharing: layers in three groups or one, word tables of six widths, matrices of five numbers of values (these with the
vocabulary pruned first). Nothing is trained. Each is kept under --work, so that a later call does what is missing. Quality is measured in
PyTorch, on the whole test split. The result is benchmarks/results/sharing/NAME.json, which table.py reads.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.common import clock, in_pieces, parser, record
from benchmarks.factorization.run import Bench
from imbik.methods import make_method
from imbik.models.facts import parameters
from imbik.students import make_student

WIDTHS = (383, 256, 192, 128, 96, 64)
VALUES = (256, 64, 32, 16, 8)
WAYS: dict[str, list[dict[str, Any]]] = {
    "3 groups, mean": [{"share": {"groups": 3, "init": "mean"}}],
    "3 groups, first": [{"share": {"groups": 3, "init": "first"}}],
    "1 group, best": [{"share": {"groups": 1, "init": "best"}}],
    **{f"width {width}": [{"share": {"groups": 0, "embedding": width}}] for width in WIDTHS},
    "all values": [{"vocabulary": {}}],
    **{f"{values} values": [{"vocabulary": {}}, {"cluster": {"values": values}}] for values in VALUES},
}
"""Name of a cell -> its steps."""


def cell(bench: Bench, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Share in a copy of the teacher, and measure it."""
    student = make_student(None, bench.teacher, bench.splits.train, 0)
    with clock() as spent:
        for step in steps:
            student = make_method(step, "bench").apply(student, bench.context("share"))
    return {**bench.measured(student, "test"), "params": parameters(student.model), "steps": steps, "seconds": spent.wall}


def main() -> None:
    arguments = parser(__doc__, "teacher!", "data!", "minutes", "work!")
    arguments.add_argument("--name", required=True, help="of the result")
    options = arguments.parse_args()
    bench = Bench.opened(options.teacher, options.data, options.work / options.name)
    numbers = {
        "teacher": {**bench.measured(bench.teacher, "test"), "params": parameters(bench.teacher.model)},
        "rows": bench.rows,
        "cells": in_pieces({name: partial(cell, bench, steps) for name, steps in WAYS.items()}, bench.work / "cells", options.minutes),
    }
    record(f"sharing/{options.name}", numbers, options, continues=True)


if __name__ == "__main__":
    main()
