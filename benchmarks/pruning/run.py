"""A fine-tuned teacher's heads and units cut without training: four importances, with and without repair.

    python -m benchmarks.pruning.run --teacher DIR --data DATA --name trec --work DIR [--minutes M]

Every cell (importance, repair, share, seed) is kept in a JSON file of its own under --work; a call does the cells that are missing and
starts no new one after --minutes. A seed draws other train texts for importance and repair. The result is
benchmarks/results/pruning/NAME.json, which table.py reads. Quality is measured in PyTorch, on the whole dev and test split.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks.common import clock, in_pieces, parser, record
from benchmarks.factorization.run import Bench
from imbik.methods import make_method
from imbik.models.blocks import blocks_of
from imbik.models.facts import flops, parameters
from imbik.students import make_student

IMPORTANCES = ("fisher", "taylor", "activation", "magnitude")
REPAIRS = ("none", "masks", "matrices")
SHARES = (0.5, "halves", 0.7, 0.3)
"""Of the operations of all heads and units; ``halves``: half of the heads and half of the units of every layer instead."""
SEEDS = (0, 1, 2)


def cell(bench: Bench, importance: str, repair: str, share: float | str, seed: int) -> dict[str, Any]:
    """Cut a copy of the teacher, and measure it."""
    student = make_student(None, bench.teacher, bench.splits.train, 0)
    halves = {f"{block.kind}": block.count // 2 for block in blocks_of(student.model)}
    size = {"budget": share} if share != "halves" else halves
    step = {"prune": {**size, "importance": importance, "repair": repair}}
    with clock() as spent:
        cut = make_method(step, "bench").apply(student, replace(bench.context("cut"), seed=seed))
    left: dict[str, list[int]] = {"heads": [], "units": []}
    for block in blocks_of(cut.model):
        left[block.kind].append(block.count)
    facts = {"left": left, "params": parameters(cut.model), "flops": flops(cut.model)}
    return {**bench.measured(cut), **facts, "seconds": spent.wall, "note": dict(cut.notes[-1].values)}


def main() -> None:
    arguments = parser(__doc__, "teacher!", "data!", "minutes", "work!")
    arguments.add_argument("--name", required=True, help="of the result")
    options = arguments.parse_args()
    bench = Bench.opened(options.teacher, options.data, options.work / options.name)
    cells = {
        f"{importance} {repair} {share} {seed}": partial(cell, bench, importance, repair, share, seed)
        for share, seed, importance, repair in itertools.product(SHARES, SEEDS, IMPORTANCES, REPAIRS)
    }
    numbers = {
        "teacher": {**bench.measured(bench.teacher), "params": parameters(bench.teacher.model), "flops": flops(bench.teacher.model)},
        "rows": bench.rows,
        "cells": in_pieces(cells, bench.work / "cells", options.minutes),
    }
    record(f"pruning/{options.name}", numbers, options, continues=True)


if __name__ == "__main__":
    main()
