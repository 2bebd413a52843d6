"""Low rank on a fine-tuned teacher: what is kept at five sizes by four factorizations, before and after the same short recovery.

    python benchmarks/bench_low_rank.py --teacher DIR --data DATA --name banking77 [--rows N] [--minutes M] [--work DIR]

Every cell (method, budget, phase) is kept in a JSON file of its own under --work; a call does the cells that are missing and starts no
new one after --minutes (--phases and --methods ask for some of them). benchmarks/results/low_rank.json gets this data set's numbers;
benchmarks/report_low_rank.py makes the table and the plot. Quality is measured in PyTorch, on the whole dev and test split.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from bench_distil import part_of

from imbik.data.load import load_data
from imbik.factorization.matrices import matrices_of
from imbik.jobs.progress import Silent
from imbik.machine import environment
from imbik.methods.registry import make_method
from imbik.models.checkpoint import labels_of, save_checkpoint
from imbik.models.facts import flops, parameters
from imbik.models.pretrained import load_checkpoint
from imbik.models.teacher import Teacher
from imbik.students.catalogue import make_student
from imbik.tasks.retention import quality, retention
from imbik.training.context import Context
from imbik.training.encoding import encode
from imbik.training.prediction import predict_logits
from imbik.training.teacher_cache import TeacherCache
from imbik.types import Checkpoint, Examples, Splits

METHODS = ("svd", "fwsvd", "asvd", "nmf")
BUDGETS = (0.8, 0.65, 0.5, 0.35, 0.2)
RECOVERY = {"temperature": 2.0, "max_steps": 120, "learning_rate": 3e-4}
RESULTS = Path(__file__).parent / "results" / "low_rank.json"


@dataclass
class Bench:
    """One teacher on one data set."""

    teacher: Teacher
    splits: Splits
    work: Path

    def context(self, name: str) -> Context:
        cache = TeacherCache(self.work / "teacher", self.teacher)
        return Context(self.teacher, self.splits, cache, 0, Silent(), self.work / "running" / name, self.work / "shared")

    def before(self, method: str, budget: float) -> dict[str, Any]:
        """Cut, keep the model for the recovery, and measure."""
        student = make_student(None, self.teacher, self.splits.train, 0)
        began = time.perf_counter()
        cut = make_method({"low_rank": {"method": method, "budget": budget}}, "bench").apply(student, self.context("cut"))
        seconds = time.perf_counter() - began
        save_checkpoint(cut, self.model(method, budget))
        matrices = matrices_of(cut.model, nmf=False).values()
        left = sum(matrix.now for matrix in matrices) / sum(matrix.dense for matrix in matrices)
        size = {"matrices_left": left, "params": parameters(cut.model), "flops": flops(cut.model)}
        return {**self.measured(cut), **size, "seconds": seconds, "note": cut.notes[-1]}

    def after(self, method: str, budget: float) -> dict[str, Any]:
        """Recover the kept model and measure."""
        cut = load_checkpoint(self.model(method, budget))
        began = time.perf_counter()
        name = f"{method}-{budget}"
        recovered = make_method({"distill": RECOVERY}, "bench").apply(cut, self.context(name))
        found = {**self.measured(recovered), "seconds": time.perf_counter() - began}
        shutil.rmtree(self.model(method, budget))
        shutil.rmtree(self.work / "running" / name, ignore_errors=True)
        return found

    def model(self, method: str, budget: float) -> Path:
        return self.work / "models" / f"{method}-{budget}"

    def measured(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """Dev and test quality, and the share of the teacher's that is kept, with its paired interval."""
        found: dict[str, Any] = {}
        for split in ("dev", "test"):
            rows: Examples = getattr(self.splits, split)
            logits = predict_logits(checkpoint.model, encode(rows, checkpoint.tokenizer))
            data = replace(self.splits, test=rows)
            teacher = self.context("none").cache.logits(rows, Silent()).take(np.arange(len(rows.texts)))
            found[split] = quality(data, split, rows, {split: logits})
            found[f"{split}_retention"] = retention(data, logits, teacher)
        return found


def cells(bench: Bench, minutes: float, phases: list[str], methods: list[str]) -> dict[str, Any]:
    """Every cell, computed (if its phase and method are asked for) or read; what needs no training comes first."""
    began, found = time.monotonic(), {}
    for phase in ("before", "after"):
        for budget in (0.5, 0.2, 0.8, 0.35, 0.65):
            for method in METHODS:
                file = bench.work / "cells" / f"{method}-{budget}-{phase}.json"
                wanted = phase in phases and method in methods and not file.is_file()
                if wanted and time.monotonic() - began < minutes * 60:
                    value = getattr(bench, phase)(method, budget)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    temporary = file.with_suffix(".tmp")
                    temporary.write_text(json.dumps(value), encoding="utf-8")
                    temporary.replace(file)
                    print(
                        f"{file.stem}: test {value['test_retention']['value']:.4f} of the teacher's, {value['seconds']:.0f} s", flush=True
                    )
                if file.is_file():
                    found[f"{method} {budget} {phase}"] = json.loads(file.read_text(encoding="utf-8"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--rows", type=int, default=None)
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--phases", nargs="+", default=["before", "after"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--work", type=Path, default=Path("low_rank_work"))
    options = parser.parse_args()
    teacher = load_checkpoint(options.teacher)
    splits = load_data(options.data, labels=labels_of(teacher))
    if options.rows is not None and options.rows < len(splits.train.texts):
        splits = part_of(splits, options.rows, 0)
    bench = Bench(teacher, splits, options.work / options.name)
    found = cells(bench, options.minutes, options.phases, options.methods)
    wanted = 2 * len(METHODS) * len(BUDGETS)
    print(f"{len(found)} of {wanted} cells")
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    results[options.name] = {
        "teacher": {**bench.measured(teacher), "params": parameters(teacher.model), "flops": flops(teacher.model)},
        "rows": {name: len(getattr(splits, name).texts) for name in ("train", "dev", "test")},
        "recovery": RECOVERY,
        "cells": found,
        "environment": environment(),
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
