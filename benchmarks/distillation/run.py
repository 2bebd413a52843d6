"""The ablations of distillation: one question, a few variants, three seeds each, on one teacher.

    python -m benchmarks.distillation.run --teacher DIR --data DATA [--rows 3000] [--minutes 5]

A cell is one (student, steps, rows, seed). Finished cells stay in the result file; a later call goes on with the next one, so the whole
may be made in pieces. All variants of a question get the same number of updates. ``table.py`` gives the mean test accuracy over the
seeds, and the difference to the question's first variant with its 95 % interval: bootstrap over seeds and test items, paired.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import clock, parser, read_result, record, result_path
from benchmarks.distillation.questions import QUESTIONS, SEEDS, Variant, key
from imbik.data import load_data
from imbik.jobs.progress import Silent
from imbik.methods import make_method
from imbik.models import load_checkpoint
from imbik.models.checkpoint import labels_of
from imbik.models.teacher import Teacher
from imbik.students import make_student
from imbik.testing.tiny import logits_of
from imbik.training import Context
from imbik.training.teacher_cache import TeacherCache
from imbik.types import Splits


def cells(only: str = "", seeds: Sequence[int] = SEEDS) -> list[tuple[Variant, int]]:
    """Every different (variant, seed) of the questions that hold ``only`` (a regular expression), seed by seed, so that an unfinished
    file still compares like with like."""
    asked = [variants for question, variants in QUESTIONS.items() if re.search(only, question)]
    variants = {json.dumps(v.__dict__): v for question in asked for v in question.values()}
    return [(variant, seed) for seed in seeds for variant in variants.values()]


def run(variant: Variant, seed: int, teacher: Teacher, splits: Splits, cache: TeacherCache, shared: Path) -> dict[str, Any]:
    """Train one cell; which test items it gets right."""
    if variant.rows:
        splits = part_of(splits, variant.rows, seed)
    with clock() as spent, tempfile.TemporaryDirectory() as folder:
        student = make_student(variant.student, teacher, splits.train, seed)
        for number, step in enumerate(variant.steps):
            context = Context(teacher, splits, cache, seed, Silent(), Path(folder) / str(number), shared, 1e9)
            student = make_method(step, "cell").apply(student, context)
    right = logits_of(student, splits.test).argmax(1) == np.asarray(splits.test.targets)
    return {"right": "".join("01"[int(r)] for r in right), "test": float(right.mean()), "seconds": round(spent.wall, 1)}


def part_of(splits: Splits, count: int, seed: int) -> Splits:
    """The splits with ``count`` of the training rows, drawn by ``seed``."""
    train = splits.train
    rows = np.sort(np.random.default_rng(seed).permutation(len(train.texts))[:count])
    texts = [train.texts[int(i)] for i in rows]
    part = replace(train, texts=texts, targets=np.asarray(train.targets)[rows], fingerprint=f"{train.fingerprint}-{count}-{seed}")
    return replace(splits, train=part)


def work(args: argparse.Namespace) -> None:
    """Train the cells that are missing, and record after each."""
    stop = time.monotonic() + 60 * args.minutes
    teacher = Teacher.of(load_checkpoint(args.teacher), args.teacher)
    splits = load_data(args.data, labels=labels_of(teacher))
    if args.rows:
        splits = part_of(splits, args.rows, 0)
    name = f"distillation/ablations-{Path(args.data).name}"
    found: dict[str, Any] = read_result(name) if result_path(name).is_file() else {"cells": {}}
    right = logits_of(teacher, splits.test).argmax(1) == np.asarray(splits.test.targets)
    if found.get("teacher", right.mean()) != right.mean():
        raise SystemExit(f"{result_path(name)} holds cells of another teacher ({found['teacher']:.4f} on test); move it away first")
    found |= {"data": Path(args.data).name, "teacher": float(right.mean()), "rows": len(splits.train.texts)}
    longest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        cache = TeacherCache(args.store or Path(folder), teacher)
        for variant, seed in cells(args.only, args.seeds):
            if key(variant, seed) in found["cells"] or time.monotonic() + longest > stop:
                continue
            began = time.monotonic()
            found["cells"][key(variant, seed)] = run(variant, seed, teacher, splits, cache, args.store or Path(folder))
            longest = max(longest, time.monotonic() - began)
            record(name, found, args, continues=True)
    print(f"{len(found['cells'])} of {len(cells())} cells")


def main() -> None:
    options = parser(__doc__, "teacher!", "data!", "rows", "minutes")
    options.add_argument("--store", type=Path, help="keeps the teacher's outputs between calls")
    options.add_argument("--only", default="", help="only the questions that hold this regular expression")
    options.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    logging.disable(logging.INFO)
    work(options.parse_args())


if __name__ == "__main__":
    main()
