"""Distil with TextBrewer, in an environment of its own (imbik is not imported); ``peers.py`` starts it.

    python -m venv peer-textbrewer
    peer-textbrewer/bin/pip install "torch==2.13.0" textbrewer transformers tensorboard
    peer-textbrewer/bin/python benchmarks/distillation/textbrewer.py FOLDER cached|general RATE

FOLDER holds ``teacher`` and ``student`` (transformers folders) and ``rows.json``: token ids of every row, epochs, temperature. As
TextBrewer's examples do it: fp32, batches of 32 padded to their longest row, AdamW, linear decay after a tenth of warm-up. ``cached`` is
its ``BasicDistiller`` with the teacher's logits computed once; ``general`` its ``GeneralDistiller``, which also matches hidden states.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from pathlib import Path

import textbrewer
import torch
from torch.utils.data import DataLoader
from transformers import AutoModelForSequenceClassification, get_linear_schedule_with_warmup

BATCH = 32


def collate(rows: list[list[int]]) -> dict[str, torch.Tensor]:
    """Padded to the longest row."""
    longest = max(len(row) for row in rows)
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": mask}


def adaptor(batch, outputs):
    found = {"logits": outputs.logits, "inputs_mask": batch["attention_mask"]}
    return found if outputs.hidden_states is None else {**found, "hidden": outputs.hidden_states}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("how", choices=["cached", "general"])
    parser.add_argument("rate", type=float)
    options = parser.parse_args()
    job = json.loads((options.folder / "rows.json").read_text())
    random.seed(job["seed"])
    torch.manual_seed(job["seed"])
    teacher, student = (AutoModelForSequenceClassification.from_pretrained(options.folder / name) for name in ("teacher", "student"))
    general = options.how == "general"
    for model in (teacher, student):
        model.config.output_hidden_states = general
    layers, depth = teacher.config.num_hidden_layers, student.config.num_hidden_layers
    matches = [
        {"layer_T": round(m * layers / depth), "layer_S": m, "feature": "hidden", "loss": "hidden_mse", "weight": 1.0}
        for m in range(depth + 1)
    ]
    settings = textbrewer.DistillationConfig(
        temperature=job["temperature"],
        hard_label_weight=0.0,
        is_caching_logits=not general,
        intermediate_matches=matches if general else None,
    )
    kind = textbrewer.GeneralDistiller if general else textbrewer.BasicDistiller
    began = time.perf_counter()
    loader = DataLoader(job["rows"], batch_size=BATCH, shuffle=True, collate_fn=collate)
    steps = len(loader) * job["epochs"]
    optimizer = torch.optim.AdamW(student.parameters(), lr=options.rate)
    schedule = {"num_warmup_steps": steps // 10, "num_training_steps": steps}
    with tempfile.TemporaryDirectory() as out:
        training = textbrewer.TrainingConfig(device="cpu", output_dir=out, ckpt_frequency=1, ckpt_epoch_frequency=job["epochs"])
        distiller = kind(training, settings, teacher.eval(), student.train(), adaptor, adaptor)
        with distiller:
            distiller.train(
                optimizer,
                loader,
                num_epochs=job["epochs"],
                scheduler_class=get_linear_schedule_with_warmup,
                scheduler_args=schedule,
                max_grad_norm=1.0,
            )
    seconds = time.perf_counter() - began
    student.save_pretrained(options.folder / "made")
    (options.folder / "seconds").write_text(str(seconds))


if __name__ == "__main__":
    main()
