"""Training speed: imbik's loop against transformers' Trainer, same student, same data, interleaved.

    python -m benchmarks.training.run --data DATA [--base MODEL] [--layers 6] [--rows 1600] [--rounds 3]

Both train the same classifier for the same rows. Trainer: fp32, batch 32, dynamic padding, its default fused AdamW. imbik: its defaults.
Reported: non-padding tokens per second (median over the rounds), the ratio, the share of the processor's own bf16 rate that they come
to, and where our time goes.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import Dataset
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

from benchmarks.common import clock, in_turns, parser, record
from imbik.data import bundled_base, bundled_data, load_data
from imbik.jobs.progress import Silent
from imbik.models import load_base
from imbik.models.facts import flops
from imbik.students import make_student
from imbik.training import Training, fit, label_loss
from imbik.training.encoding import Encoded, encode
from imbik.training.prediction import Batch, model_inputs
from imbik.training.settings import RunSettings
from imbik.types import Checkpoint, Splits


class Labels(nn.Module):
    """Loss against labels, as the Trainer computes it."""

    def __init__(self, targets: torch.Tensor) -> None:
        super().__init__()
        self.targets = targets

    def forward(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        return label_loss("classification", model(**model_inputs(batch)).logits.float(), self.targets[batch["rows"]])


class Rows(Dataset[dict[str, Any]]):
    """Tokenized rows for the Trainer."""

    def __init__(self, data: Encoded, targets: Any, count: int) -> None:
        self.data, self.targets, self.count = data, targets, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> dict[str, Any]:
        ids = self.data.ids[self.data.offsets[row] : self.data.offsets[row + 1]]
        return {"input_ids": ids.tolist(), "attention_mask": [1] * len(ids), "labels": int(self.targets[row])}


def fresh(base: Path, splits: Splits, layers: int) -> Checkpoint:
    """The student of both: the base with a new head, cut to ``layers`` layers."""
    torch.manual_seed(0)
    return make_student(f"layers-{layers}", load_base(base, splits.task, splits.labels), splits.train, 0)


def ours(base: Path, splits: Splits, layers: int, rows: int) -> float:
    """Tokens per second of one epoch."""
    student = fresh(base, splits, layers)
    data = encode(part(splits, rows), student.tokenizer)
    with tempfile.TemporaryDirectory() as folder, clock() as spent:
        fit(
            student.model,
            Labels(torch.from_numpy(splits.train.targets[:rows])),
            data,
            Training(epochs=1),
            RunSettings(0, Path(folder), Silent()),
            what="",
            pieces=data.pieces(),
        )
    return int(data.offsets[-1]) / spent.wall


def theirs(base: Path, splits: Splits, layers: int, rows: int) -> float:
    """Tokens per second of one epoch of transformers' Trainer."""
    student = fresh(base, splits, layers)
    student.model.set_attn_implementation("sdpa")  # what from_pretrained gives a user
    data = encode(part(splits, rows), student.tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, num_train_epochs=1, per_device_train_batch_size=32, save_strategy="no", report_to=[], disable_tqdm=True, use_cpu=True
        )
        trainer = Trainer(
            student.model.train(),
            arguments,
            train_dataset=Rows(data, splits.train.targets, rows),
            data_collator=DataCollatorWithPadding(student.tokenizer),
        )
        with clock() as spent:
            trainer.train()
    return int(data.offsets[-1]) / spent.wall


def part(splits: Splits, rows: int) -> Any:
    """The first ``rows`` training rows."""
    return type(splits.train)(splits.train.texts[:rows], None, None, "")


def bf16_rate(size: int = 2048, repeats: int = 5) -> float:
    """The most floating-point operations a second that a bf16 matrix product reaches here, an addition counting as one."""
    a, b = (torch.randn(size, size, dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(repeats):
        with clock() as spent:
            a @ b
        seconds.append(spent.wall)
    return float(2 * size**3 / min(seconds))


def training_flops(model: nn.Module, tokens: float) -> float:
    """Operations of training on one token in rows of ``tokens``: forward, and twice that backward."""
    c0, c1, c2 = flops(model)
    return float(3 * (c0 / tokens + c1 + c2 * tokens))


def where_time_goes(base: Path, splits: Splits, layers: int) -> dict[str, float]:
    """Share of CPU time by kind of operation in our loop, in per cent."""
    logging.disable(logging.WARNING)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        ours(base, splits, layers, 512)
    kinds = {
        "matrix products": ("mm", "addmm", "bmm", "linear", "baddbmm"),
        "gelu": ("gelu",),
        "norm": ("layer_norm",),
        "softmax": ("softmax",),
        "optimizer": ("adam", "foreach", "norm_"),
        "casts and copies": ("copy_", "to_copy", "_to_copy"),
        "embedding": ("embedding", "index"),
    }
    spent = dict.fromkeys([*kinds, "rest"], 0.0)
    for event in profiler.key_averages():
        kind = next((k for k, names in kinds.items() if any(n in event.key.lower() for n in names)), "rest")
        spent[kind] += event.self_cpu_time_total
    total = sum(spent.values())
    return {kind: round(100 * value / total, 1) for kind, value in sorted(spent.items(), key=lambda item: -item[1])}


def main() -> None:
    arguments = parser(__doc__, "data", "base", "rows", "rounds", data=str(bundled_data()), rows=1600)
    arguments.add_argument("--label", default=None)
    arguments.add_argument("--layers", type=int, default=6)
    options = arguments.parse_args()
    base = Path(options.base) if options.base else bundled_base()
    bundled = {"text": "text", "label": "intent"} if "bank_messages" in options.data else {}
    splits = load_data(options.data, **({"label": options.label} if options.label else bundled))
    rows = min(options.rows, len(splits.train.texts))
    turns = in_turns(
        {
            "bf16": bf16_rate,
            "imbik": lambda: ours(base, splits, options.layers, rows),
            "transformers Trainer": lambda: theirs(base, splits, options.layers, rows),
        },
        options.rounds,
    )
    rate, speeds = max(turns.pop("bf16")), turns
    ratios = [a / b for a, b in zip(speeds["imbik"], speeds["transformers Trainer"], strict=True)]
    tokens = float(np.mean(encode(part(splits, rows), fresh(base, splits, 1).tokenizer).lengths))
    work = training_flops(fresh(base, splits, options.layers).model, tokens)
    numbers = {
        "tokens_per_s": {name: round(statistics.median(values)) for name, values in speeds.items()},
        "ratio": {"median": round(statistics.median(ratios), 2), "min": round(min(ratios), 2), "max": round(max(ratios), 2)},
        "bf16 matrix products": {
            "gflops": round(rate / 1e9),
            "share": {name: round(statistics.median(values) * work / rate, 3) for name, values in speeds.items()},
        },
        "time": where_time_goes(base, splits, options.layers),
        "settings": {
            "layers": options.layers,
            "rows": rows,
            "rounds": options.rounds,
            "data": Path(options.data).name,
            "mean_tokens": round(tokens, 1),
        },
    }
    record("training/speed", numbers, options)


if __name__ == "__main__":
    main()
