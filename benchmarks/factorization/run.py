"""Low rank on a fine-tuned teacher: what is kept at five sizes by four factorizations, before and after the same short recovery.

    python -m benchmarks.factorization.run --teacher DIR --data DATA --name banking77 --work DIR [--rows N] [--minutes M]

Every cell (method, budget, phase) is kept in a JSON file of its own under --work; a call does the cells that are missing and starts no
new one after --minutes (--phases and --methods ask for some of them). The result is benchmarks/results/factorization/NAME.json, which
table.py and plot.py read. Quality is measured in PyTorch, on the whole dev and test split.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import clock, in_pieces, parser, record
from benchmarks.distillation.run import part_of
from imbik.data import load_data
from imbik.factorization.matrices import matrices_of
from imbik.jobs.progress import Silent
from imbik.methods import make_method
from imbik.models import load_checkpoint, save_checkpoint
from imbik.models.checkpoint import labels_of
from imbik.models.facts import flops, parameters
from imbik.models.teacher import Teacher
from imbik.students import make_student
from imbik.tasks.retention import quality, retention
from imbik.training import Context
from imbik.training.encoding import encode
from imbik.training.prediction import predict_logits
from imbik.training.teacher_cache import TeacherCache
from imbik.types import Checkpoint, Examples, Splits

METHODS = ("svd", "fwsvd", "asvd", "nmf")
BUDGETS = (0.5, 0.2, 0.8, 0.35, 0.65)
"""In the order in which they are done."""
RECOVERY = {"temperature": 2.0, "max_steps": 120, "learning_rate": 3e-4}


@dataclass
class Bench:
    """One teacher on one data set."""

    teacher: Teacher
    splits: Splits
    work: Path

    @classmethod
    def opened(cls, teacher: str, data: str, work: Path) -> Bench:
        """Load the teacher, and the data in its labels; ``work`` gets what is kept."""
        model = Teacher.of(load_checkpoint(teacher), teacher)
        return cls(model, load_data(data, labels=labels_of(model)), work)

    @property
    def rows(self) -> dict[str, int]:
        """Rows of each split."""
        return {name: len(getattr(self.splits, name).texts) for name in ("train", "dev", "test")}

    def context(self, name: str) -> Context:
        cache = TeacherCache(self.work / "teacher", self.teacher)
        return Context(self.teacher, self.splits, cache, 0, Silent(), self.work / "running" / name, self.work / "shared")

    def before(self, method: str, budget: float) -> dict[str, Any]:
        """Cut, keep the model for the recovery, and measure."""
        student = make_student(None, self.teacher, self.splits.train, 0)
        with clock() as spent:
            cut = make_method({"low_rank": {"method": method, "budget": budget}}, "bench").apply(student, self.context("cut"))
        save_checkpoint(cut, self.model(method, budget))
        matrices = matrices_of(cut.model, nmf=False).values()
        left = sum(matrix.now for matrix in matrices) / sum(matrix.dense for matrix in matrices)
        size = {"matrices_left": left, "params": parameters(cut.model), "flops": flops(cut.model)}
        return {**self.measured(cut), **size, "seconds": spent.wall, "note": dict(cut.notes[-1].values)}

    def after(self, method: str, budget: float) -> dict[str, Any]:
        """Recover the kept model and measure."""
        cut = load_checkpoint(self.model(method, budget))
        name = f"{method}-{budget}"
        with clock() as spent:
            recovered = make_method({"distill": RECOVERY}, "bench").apply(cut, self.context(name))
        found = {**self.measured(recovered), "seconds": spent.wall}
        shutil.rmtree(self.model(method, budget))
        shutil.rmtree(self.work / "running" / name, ignore_errors=True)
        return found

    def model(self, method: str, budget: float) -> Path:
        return self.work / "models" / f"{method}-{budget}"

    def measured(self, checkpoint: Checkpoint, *splits: str) -> dict[str, Any]:
        """Quality on ``splits`` (default: dev and test), and the share of the teacher's that is kept, with its paired interval."""
        found: dict[str, Any] = {}
        for split in splits or ("dev", "test"):
            rows: Examples = getattr(self.splits, split)
            logits = predict_logits(checkpoint.model, encode(rows, checkpoint.tokenizer))
            data = replace(self.splits, test=rows)
            teacher = self.context("none").cache.logits(rows, Silent()).take(np.arange(len(rows.texts)))
            found[split] = quality(data, split, rows, {split: logits})
            found[f"{split}_retention"] = retention(data, logits, teacher)
        return found


def cells(bench: Bench) -> dict[str, Callable[[], dict[str, Any]]]:
    """Return what makes each cell; what needs no training comes first."""
    order = itertools.product(("before", "after"), BUDGETS, METHODS)
    return {f"{method} {budget} {phase}": partial(getattr(bench, phase), method, budget) for phase, budget, method in order}


def main() -> None:
    arguments = parser(__doc__, "teacher!", "data!", "rows", "minutes", "work!")
    arguments.add_argument("--name", required=True, help="of the result")
    arguments.add_argument("--phases", nargs="+", default=["before", "after"])
    arguments.add_argument("--methods", nargs="+", default=list(METHODS))
    options = arguments.parse_args()
    bench = Bench.opened(options.teacher, options.data, options.work / options.name)
    if 0 < options.rows < len(bench.splits.train.texts):
        bench = replace(bench, splits=part_of(bench.splits, options.rows, 0))

    def wanted(name: str) -> bool:
        method, _, phase = name.split()
        return method in options.methods and phase in options.phases

    numbers = {
        "teacher": {**bench.measured(bench.teacher), "params": parameters(bench.teacher.model), "flops": flops(bench.teacher.model)},
        "rows": bench.rows,
        "recovery": RECOVERY,
        "cells": in_pieces(cells(bench), bench.work / "cells", options.minutes, wanted),
    }
    record(f"factorization/{options.name}", numbers, options, continues=True)


if __name__ == "__main__":
    main()
