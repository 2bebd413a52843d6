"""Ranks shared out otherwise: half of the encoder's matrices, by measured sensitivity, by one share for all, by energy alone.

    python -m benchmarks.factorization.ranks --teacher DIR --data DATA --name banking77 --work DIR [--minutes M]

What the method ``low_rank`` measures (its sensitivities) is replaced by what one would try first. Nothing is trained. The result is
benchmarks/results/factorization/ranks-NAME.json, which table.py reads; quality is measured in PyTorch, on the whole test split.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.common import clock, in_pieces, parser, record
from benchmarks.factorization.run import Bench
from imbik.factorization.matrices import Matrix
from imbik.factorization.ranks import Curve, allocate
from imbik.methods import make_method
from imbik.methods.low_rank import LowRank
from imbik.students import make_student

METHODS = ("svd", "fwsvd", "asvd")
BUDGET = 0.5


def step_of(method: LowRank, matrix: Matrix) -> int:
    """Return what the ranks of a matrix are multiples of, as the method has it."""
    return method.multiple if matrix.largest >= 8 * method.multiple else 1


def one_share(method: LowRank, _: Any, matrices: Mapping[str, Matrix], *__: Any) -> dict[str, int]:
    """Give every matrix the same share of its numbers."""
    ranks = {}
    for name, matrix in matrices.items():
        step = step_of(method, matrix)
        ranks[name] = max(step, int(BUDGET * matrix.dense / matrix.unit / step) * step)
    return ranks


def by_energy(method: LowRank, _: Any, matrices: Mapping[str, Matrix], *__: Any) -> dict[str, int]:
    """Keep most of the squared singular values of all matrices together."""
    curves = []
    for matrix in matrices.values():
        total = float(np.square(matrix._decomposition.values).sum())
        curves.append(Curve(total * matrix.losses, matrix.unit, matrix.now, step_of(method, matrix)))
    ranks = allocate(curves, BUDGET * sum(matrix.dense for matrix in matrices.values()))
    assert ranks is not None
    return dict(zip(matrices, ranks, strict=True))


WAYS = {"sensitivity": LowRank._shared, "one share": one_share, "energy": by_energy}


def cell(bench: Bench, way: str, method: str) -> dict[str, Any]:
    """Cut a copy of the teacher, and measure it."""
    student = make_student(None, bench.teacher, bench.splits.train, 0)
    with clock() as spent, patch.object(LowRank, "_shared", WAYS[way]):
        cut = make_method({"low_rank": {"method": method, "budget": BUDGET}}, "bench").apply(student, bench.context("cut"))
    return {**bench.measured(cut, "test"), "seconds": spent.wall, "note": dict(cut.notes[-1].values)}


def main() -> None:
    arguments = parser(__doc__, "teacher!", "data!", "minutes", "work!")
    arguments.add_argument("--name", required=True, help="of the result")
    options = arguments.parse_args()
    bench = Bench.opened(options.teacher, options.data, options.work / f"ranks-{options.name}")
    cells = {f"{method} {way}": partial(cell, bench, way, method) for way, method in itertools.product(WAYS, METHODS)}
    numbers = {
        "teacher": bench.measured(bench.teacher, "test"),
        "rows": bench.rows,
        "budget": BUDGET,
        "cells": in_pieces(cells, bench.work / "cells", options.minutes),
    }
    record(f"factorization/ranks-{options.name}", numbers, options, continues=True)


if __name__ == "__main__":
    main()
