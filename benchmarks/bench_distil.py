"""The ablations of distillation: one question, a few variants, three seeds each, on one teacher.

    python benchmarks/bench_distil.py --teacher DIR --data DATA --cells benchmarks/results/distil/trec.json [--rows 3000] [--minutes 5]
    python benchmarks/bench_distil.py --cells benchmarks/results/distil/trec.json --report docs/results/distil.md

A cell is one (student, steps, rows, seed). Finished cells stay in the file; a later call goes on with the next one, so the whole may
be made in pieces. All variants of a question get the same number of updates. The report gives the mean test accuracy over the seeds,
and the difference to the question's first variant with its 95 % interval: bootstrap over seeds and test items, paired.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imbik.data.load import load_data
from imbik.jobs.progress import Silent
from imbik.machine import environment
from imbik.methods.registry import make_method
from imbik.models.checkpoint import labels_of
from imbik.models.pretrained import load_checkpoint
from imbik.models.teacher import Teacher
from imbik.students.catalogue import make_student
from imbik.testing.tiny import logits_of
from imbik.training.context import Context
from imbik.training.teacher_cache import TeacherCache
from imbik.types import Splits

UPDATES = 400  # of a variant, all steps together
LONG = 1200  # where the student starts from random weights or learns in two stages, and 400 are too few for either
RATE = 1e-3
SEEDS = (0, 1, 2)


def answers(updates: int = UPDATES, **settings: Any) -> dict[str, Any]:
    return {"distill": {"target_steps": updates, "learning_rate": RATE, **settings}}


def layers_first(updates: int = LONG, **settings: Any) -> list[dict[str, Any]]:
    return [{"tinybert": {"target_steps": updates // 2, "learning_rate": RATE, **settings}}, answers(updates // 2)]


RELATIONS_FIRST = [{"minilm": {"target_steps": LONG // 2, "learning_rate": RATE}}, answers(LONG // 2)]
RANDOM = {"layers": 2, "hidden": 192, "heads": 6, "intermediate": 768, "init": "random"}
CUT_RANDOM = {"layers": 2, "init": "random"}
MOBILE_RATE = 2.5e-4  # without norms, a higher one leaves the student near chance
MOBILE = {"family": "mobilebert", "layers": 6, "hidden": 128, "bottleneck": 48}


def blocks_first(schedule: str) -> list[dict[str, Any]]:
    """Transfer block by block or at once, then the answers; ``auxiliary`` has both in one sum all the time."""
    steps = LONG if schedule == "auxiliary" else LONG // 2
    transfer = {"mobilebert": {"schedule": schedule, "bridge_steps": 400, "transfer_steps": steps}}
    return [transfer] if schedule == "auxiliary" else [transfer, answers(LONG // 2, learning_rate=MOBILE_RATE)]


@dataclass(frozen=True)
class Variant:
    """One way of doing it; ``rows`` training rows, or all."""

    student: Any
    steps: list[dict[str, Any]]
    rows: int = 0


QUESTIONS: dict[str, dict[str, Variant]] = {
    "Does a start from the teacher help? (two of its layers)": {
        "random weights": Variant(CUT_RANDOM, [answers()]),
        "the teacher's layers": Variant("layers-2", [answers()]),
    },
    "Does a start from the teacher help a narrow student? (2 × 192)": {
        "random weights": Variant(RANDOM, [answers()]),
        "the teacher's principal directions": Variant("mini-2x192", [answers()]),
    },
    "Does intermediate transfer help a student that cannot copy layers? (2 × 192, random)": {
        "logits alone": Variant(RANDOM, [answers(LONG)]),
        "tinybert, then logits": Variant(RANDOM, layers_first()),
        "minilm, then logits": Variant(RANDOM, RELATIONS_FIRST),
    },
    "And a student that copies layers? (two layers of the teacher)": {
        "logits alone": Variant("layers-2", [answers()]),
        "tinybert, then logits": Variant("layers-2", layers_first(UPDATES)),
    },
    "Which map of layers? (2 × 192, random, tinybert, then logits)": {
        "uniform": Variant(RANDOM, layers_first()),
        "top": Variant(RANDOM, layers_first(layers="top")),
        "bottom": Variant(RANDOM, layers_first(layers="bottom")),
    },
    "Does augmentation help with 500 rows? (two layers of the teacher)": {
        "the rows alone": Variant("layers-2", [answers()], rows=500),
        "20 copies of each": Variant("layers-2", [answers(augment={"masked_model": "none"})], rows=500),
    },
    "Does MobileBERT's transfer help? (6 blocks, 128 between them, 48 inside)": {
        "logits alone": Variant(MOBILE, [answers(LONG, learning_rate=MOBILE_RATE)]),
        "progressive, then logits": Variant(MOBILE, blocks_first("progressive")),
    },
    "Which of MobileBERT's schedules? (6 blocks, 128 between them, 48 inside)": {
        "progressive, then logits": Variant(MOBILE, blocks_first("progressive")),
        "joint, then logits": Variant(MOBILE, blocks_first("joint")),
        "auxiliary": Variant(MOBILE, blocks_first("auxiliary")),
    },
}

REMARKS = {
    "Which map": """TinyBERT's paper finds uniform better than top; top is no worse here. Two layers of six are 3 and 6, or 5 and 6: both
maps hold the last layer, whose first token the classifier reads. The paper maps four layers on twelve.""",
    "copies layers": """In the paper every student starts at random; one that starts as two of the teacher's layers already has what the
transfer would give it.""",
    "MobileBERT's transfer": "Without it, the student has a random start and no norms to learn from; more updates would narrow the gap.",
}


def cells(only: str = "", seeds: Sequence[int] = SEEDS) -> list[tuple[Variant, int]]:
    """Every different (variant, seed) of the questions that hold ``only`` (a regular expression), seed by seed, so that an unfinished
    file still compares like with like."""
    asked = [variants for question, variants in QUESTIONS.items() if re.search(only, question)]
    variants = {json.dumps(v.__dict__): v for question in asked for v in question.values()}
    return [(variant, seed) for seed in seeds for variant in variants.values()]


def key(variant: Variant, seed: int) -> str:
    return json.dumps([variant.student, variant.steps, variant.rows, seed])


def run(variant: Variant, seed: int, teacher: Teacher, splits: Splits, cache: TeacherCache, shared: Path) -> dict[str, Any]:
    """Train one cell; which test items it gets right."""
    if variant.rows:
        splits = part_of(splits, variant.rows, seed)
    began = time.perf_counter()
    student = make_student(variant.student, teacher, splits.train, seed)
    with tempfile.TemporaryDirectory() as folder:
        for number, step in enumerate(variant.steps):
            context = Context(teacher, splits, cache, seed, Silent(), Path(folder) / str(number), shared, 1e9)
            student = make_method(step, "cell").apply(student, context)
    seconds = time.perf_counter() - began
    right = logits_of(student, splits.test).argmax(1) == np.asarray(splits.test.targets)
    return {"right": "".join("01"[int(r)] for r in right), "test": float(right.mean()), "seconds": round(seconds, 1)}


def part_of(splits: Splits, count: int, seed: int) -> Splits:
    """The splits with ``count`` of the training rows, drawn by ``seed``."""
    train = splits.train
    rows = np.sort(np.random.default_rng(seed).permutation(len(train.texts))[:count])
    texts = [train.texts[int(i)] for i in rows]
    part = replace(train, texts=texts, targets=np.asarray(train.targets)[rows], fingerprint=f"{train.fingerprint}-{count}-{seed}")
    return replace(splits, train=part)


def work(args: argparse.Namespace) -> None:
    stop = time.monotonic() + 60 * args.minutes
    teacher = Teacher.of(load_checkpoint(args.teacher), args.teacher)
    splits = load_data(args.data, labels=labels_of(teacher))
    if args.rows:
        splits = part_of(splits, args.rows, 0)
    found: dict[str, Any] = json.loads(args.cells.read_text()) if args.cells.is_file() else {"cells": {}}
    right = logits_of(teacher, splits.test).argmax(1) == np.asarray(splits.test.targets)
    found |= {"data": Path(args.data).name, "teacher": float(right.mean()), "rows": len(splits.train.texts), "environment": environment()}
    longest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        cache = TeacherCache(args.store or Path(folder), teacher)
        for variant, seed in cells(args.only, args.seeds):
            if key(variant, seed) in found["cells"] or time.monotonic() + longest > stop:
                continue
            began = time.monotonic()
            found["cells"][key(variant, seed)] = run(variant, seed, teacher, splits, cache, args.store or Path(folder))
            longest = max(longest, time.monotonic() - began)
            temporary = args.cells.with_suffix(".tmp")
            temporary.write_text(json.dumps(found, indent=0))
            temporary.replace(args.cells)
    print(f"{len(found['cells'])} of {len(cells())} cells")


def matrix(found: dict[str, Any], variant: Variant, seeds: list[int]) -> NDArray[np.float64]:
    """Right answers ``(seeds, items)``."""
    return np.array([[float(c) for c in found["cells"][key(variant, seed)]["right"]] for seed in seeds])


def difference(one: NDArray[np.float64], other: NDArray[np.float64], resamples: int = 4000) -> tuple[float, float, float]:
    """Mean of ``one - other`` and its 95 % interval over seeds and items drawn with replacement."""
    gap = one - other
    generator = np.random.default_rng(0)
    draws = []
    for _ in range(resamples):
        seeds, items = generator.integers(0, gap.shape[0], gap.shape[0]), generator.integers(0, gap.shape[1], gap.shape[1])
        draws.append(gap[seeds][:, items].mean())
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(gap.mean()), float(low), float(high)


def report(paths: list[Path], out: Path) -> None:
    lines = ["# Ablations of distillation", ""]
    lines += ["Made by `benchmarks/bench_distil.py`. Difference: to the first line of its table, with a 95 % interval over seeds and", ""]
    lines[-1:] = ["test items (paired). An interval that holds 0 shows nothing either way.", ""]
    for path in paths:
        found = json.loads(path.read_text())
        lines += [f"## {found['data']}: {found['rows']:,} training rows, MiniLM teacher {found['teacher']:.1%}", ""]
        lines += [f"All variants of a question get the same number of updates, {UPDATES} or {LONG}; learning rate {RATE}, MobileBERT's"]
        lines += [f"logits {MOBILE_RATE}; dev chooses the epoch of the last step. Making an IB-BERT (400 updates) is not counted.", ""]
        for question, variants in QUESTIONS.items():
            lines += _table(found, question, variants)
    out.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def _table(found: dict[str, Any], question: str, variants: dict[str, Variant]) -> list[str]:
    seeds = [seed for seed in SEEDS if all(key(v, seed) in found["cells"] for v in variants.values())]
    if not seeds:
        return []
    rows = {name: matrix(found, variant, seeds) for name, variant in variants.items()}
    first = next(iter(rows.values()))
    updates = sum(
        settings.get("target_steps", settings.get("transfer_steps", 0))
        for step in next(iter(variants.values())).steps
        for settings in step.values()
    )
    out = [
        f"### {question}",
        "",
        f"| {len(seeds)} seed{'s'[: len(seeds) > 1]}, {updates} updates | test accuracy | difference |",
        "| --- | ---: | ---: |",
    ]
    for name, right in rows.items():
        value, low, high = difference(right, first)
        gap = "" if right is first else f"{100 * value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
        out.append(f"| {name} | {right.mean():.1%} | {gap} |")
    return [*out, "", *(f"{text}\n" for part, text in REMARKS.items() if part in question)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher")
    parser.add_argument("--data")
    parser.add_argument("--rows", type=int, default=0, help="this many training rows instead of all")
    parser.add_argument("--cells", type=Path, nargs="+", required=True)
    parser.add_argument("--store", type=Path, help="keeps the teacher's outputs between calls")
    parser.add_argument("--only", default="", help="only the questions that hold this regular expression")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--report", type=Path)
    args = parser.parse_args()
    logging.disable(logging.INFO)
    if args.report:
        report(args.cells, args.report)
        return
    (args.cells,) = args.cells
    work(args)


if __name__ == "__main__":
    main()
