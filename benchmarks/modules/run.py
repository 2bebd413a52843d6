"""Any module: bytes and time of an MLP, a CNN, an LSTM and a ViT on ONNX Runtime, before and after each family of compression.

    python -m benchmarks.modules.run [--rounds 5] [--threads 1]

The networks have random weights: what is measured are files and time, which do not hang on training, and no quality. The artefacts of
one network are timed in one interleaved run, each in a process of its own.
"""

from __future__ import annotations

import runpy
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import imbik
from benchmarks.common import ROOT, parser, record

ROWS = 256
_KINDS = runpy.run_path(str(ROOT / "tests" / "helpers" / "networks.py"))


def networks() -> dict[str, tuple[nn.Module, Tensor]]:
    """Return each network with rows to ask."""
    torch.manual_seed(0)
    images = torch.randn(ROWS, 3, 32, 32)
    mlp = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    text = _KINDS["Text"](vocabulary=8000, width=128, units=128)
    return {
        "MLP": (mlp, torch.randn(ROWS, 784)),
        "CNN": (_KINDS["ResNet"](32), images),
        "LSTM": (text, torch.randint(0, 8000, (ROWS, 32))),
        "ViT": (_KINDS["ViT"](width=128, heads=4, layers=4, patch=4), images),
    }


STEPS: dict[str, dict[str, Any]] = {
    "prune": {"prune": {"amount": 0.5, "multiple": 8}},
    "low_rank": {"low_rank": {"share": 0.5}},
    "share": {"share": {}},
    "cluster": {"cluster": {"values": 16}},
    "int8 dynamic": {"quantize": {"scheme": "dynamic"}},
    "int8 static": {"quantize": {"scheme": "static"}},
}


def measured(model: nn.Module, rows: Tensor, folder: Path, threads: int, rounds: int) -> dict[str, Any]:
    """Return what each way of compression makes of a network; None for a step that applies to nothing in it."""
    example, loader = rows[:2], list(rows[:64].split(16))
    made = {"float": imbik.export_module(model.eval(), example, folder / "float")["onnx"]}
    found: dict[str, Any] = {}
    for name, step in STEPS.items():
        try:
            small = imbik.compress_module(model, example, [step], loader=loader)
        except imbik.UserError as error:
            found[name] = None
            print(f"{name}: {error}")
            continue
        made[name] = imbik.export_module(small, example, folder / name.replace(" ", "-"))["onnx"]
    run = imbik.measure_module(made, rows.numpy(), threads=threads, rounds=rounds)
    return {one.name: asdict(one) for one in run.measurements} | found


def main() -> None:
    """Measure all networks and record the result."""
    given = parser(__doc__, "rounds", "threads", rounds=5).parse_args()
    numbers = {}
    with tempfile.TemporaryDirectory(prefix="imbik-") as work:
        for name, (model, rows) in networks().items():
            numbers[name] = measured(model, rows, Path(work) / name, given.threads, given.rounds)
            print(name, "done")
    record("modules/families", numbers, given)


if __name__ == "__main__":
    main()
