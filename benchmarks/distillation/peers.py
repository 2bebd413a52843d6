"""Distillation against TextBrewer: same teacher, student, rows, epochs, temperature and machine, in turns.

    python -m benchmarks.distillation.peers --teacher DIR --data DATA --peer PEER_PYTHON [--rows 3000] [--epochs 4] [--rounds 2]

TextBrewer gets its cached form and its general form (with hidden states). All are tried at the same learning rates in the first round; the
rate that is best on dev goes on. A batch is 32 rows there and about as many tokens here, so the updates are as many. Seconds are those
of training, the teacher's logits included, after the models are loaded; accuracy is on the test split, all judged by the same code.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import clock, parser, record
from benchmarks.distillation.run import part_of
from benchmarks.distillation.table import difference
from imbik.data import load_data
from imbik.jobs.progress import Silent
from imbik.methods import make_method
from imbik.models import load_checkpoint, save_checkpoint
from imbik.models.checkpoint import labels_of
from imbik.models.teacher import Teacher
from imbik.students import make_student
from imbik.testing.tiny import logits_of
from imbik.training import Context
from imbik.training.encoding import encode
from imbik.training.teacher_cache import TeacherCache
from imbik.types import Checkpoint, Splits

PEER = Path(__file__).with_name("textbrewer.py")
TEMPERATURE = 2.0
BATCH = 32


def judged(student: Checkpoint, splits: Splits) -> dict[str, Any]:
    """Accuracy on dev and test, and which test items are right."""
    right = {
        name: logits_of(student, getattr(splits, name)).argmax(1) == np.asarray(getattr(splits, name).targets) for name in ("dev", "test")
    }
    return {**{name: float(rows.mean()) for name, rows in right.items()}, "right": "".join("01"[int(r)] for r in right["test"])}


def ours(folder: Path, splits: Splits, epochs: int, rate: float, seed: int) -> dict[str, Any]:
    """imbik's loop, its own batches, on the student of ``folder``."""
    teacher, student = Teacher.of(load_checkpoint(folder / "teacher")), load_checkpoint(folder / "student")
    with clock() as spent, tempfile.TemporaryDirectory() as work:
        cache = TeacherCache(Path(work) / "teacher", teacher)
        context = Context(teacher, splits, cache, seed, Silent(), Path(work) / "run", Path(work) / "shared", 1e9)
        tokens = round(BATCH * float(np.mean(encode(splits.train, teacher.tokenizer).lengths)))
        step = {"distill": {"temperature": TEMPERATURE, "epochs": epochs, "learning_rate": rate, "batch_tokens": tokens}}
        made = make_method(step, "bench").apply(student, context)
    return {"seconds": spent.wall, "rate": rate, **judged(made, splits)}


def theirs(folder: Path, splits: Splits, peer: str, how: str, rate: float) -> dict[str, Any]:
    """TextBrewer in its own environment."""
    subprocess.run([peer, str(PEER), str(folder), how, str(rate)], check=True, capture_output=True)
    made = load_checkpoint(folder / "student")
    made.model.load_state_dict(load_weights(folder / "made"))
    return {"seconds": float((folder / "seconds").read_text()), "rate": rate, **judged(made, splits)}


def run(who: str, folder: Path, splits: Splits, options: argparse.Namespace, rate: float, seed: int) -> dict[str, Any]:
    """One training of imbik or of a form of TextBrewer."""
    if who == "imbik":
        return ours(folder, splits, options.epochs, rate, seed)
    return theirs(folder, splits, options.peer, who.split()[1], rate)


def load_weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def prepare(folder: Path, teacher: Checkpoint, splits: Splits, student: str, epochs: int, seed: int) -> None:
    """What both sides start from."""
    made = make_student(student, teacher, splits.train, seed)
    save_checkpoint(teacher, folder / "teacher")
    save_checkpoint(made, folder / "student")
    data = encode(splits.train, teacher.tokenizer)
    rows = [data.ids[a:b].tolist() for a, b in zip(data.offsets[:-1], data.offsets[1:], strict=True)]
    (folder / "rows.json").write_text(json.dumps({"rows": rows, "epochs": epochs, "temperature": TEMPERATURE, "seed": seed}))


def main() -> None:
    arguments = parser(__doc__, "teacher!", "data!", "rows", "rounds", rows=3000, rounds=2)
    arguments.add_argument("--peer", required=True, help="the Python of TextBrewer's own environment")
    arguments.add_argument("--student", default="layers-2")
    arguments.add_argument("--epochs", type=int, default=10)
    arguments.add_argument("--rates", type=float, nargs="+", default=[5e-4, 1e-3])
    options = arguments.parse_args()
    teacher = load_checkpoint(options.teacher)
    splits = part_of(load_data(options.data, labels=labels_of(teacher)), options.rows, 0)
    found: dict[str, list[dict[str, Any]]] = {"imbik": [], "TextBrewer cached": [], "TextBrewer general": []}
    rates = dict.fromkeys(found, options.rates)
    for seed in range(options.rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            prepare(folder, teacher, splits, options.student, options.epochs, seed)
            for who, cells in found.items():
                made = [run(who, folder, splits, options, rate, seed) for rate in rates[who]]
                cells.append(max(made, key=lambda cell: cell["dev"]))
                rates[who] = [cells[-1]["rate"]]
        print(json.dumps({name: {**cells[-1], "right": None} for name, cells in found.items()}), flush=True)
        write(options, found)


def write(options: argparse.Namespace, found: dict[str, list[dict[str, Any]]]) -> None:
    """Means, the paired differences of accuracy, the ratios of the seconds, and all single figures."""
    mean = {key: {name: float(np.mean([cell[key] for cell in cells])) for name, cells in found.items()} for key in ("test", "seconds")}
    right = {name: np.array([[float(c) for c in cell["right"]] for cell in cells]) for name, cells in found.items()}
    keys = ("student", "epochs", "rates", "rounds", "rows")
    result = {
        "settings": {key: getattr(options, key) for key in keys} | {"data": Path(options.data).name, "temperature": TEMPERATURE},
        **mean,
        "imbik's accuracy less theirs (95 %)": {name: difference(right["imbik"], rows) for name, rows in right.items() if name != "imbik"},
        "times as long as imbik": {name: round(value / mean["seconds"]["imbik"], 2) for name, value in mean["seconds"].items()},
        "cells": {name: [{k: v for k, v in cell.items() if k != "right"} for cell in cells] for name, cells in found.items()},
    }
    record("distillation/textbrewer", result, options)


if __name__ == "__main__":
    main()
