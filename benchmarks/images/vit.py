"""A vision Transformer, measured: trained from random weights, and made small by layers, low rank and int8.

    python -m benchmarks.images.vit --work DIR [--data cifar10] [--epochs 9] [--shallow 2] [--narrow 1] [--core 0] [--threads 1]

The teacher is made by ``imbik finetune``, the candidates by ``imbik compress``; ``--epochs`` are its own, ``--shallow`` those of the
student of three layers, ``--narrow`` those that repair low ranks. A call that was killed goes on where it stopped. The result is
benchmarks/results/images/cifar10-vit.json, as that of ``benchmarks.images.run``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.common import parser, record, stay_on
from benchmarks.compress.run import without_texts
from benchmarks.images.networks import distilled, write_vit
from benchmarks.images.run import SCHEMES, Work, write_recipe

RATE = 1e-3
"""Learning rate of what starts from random weights, and of the student of three layers; low ranks are repaired at half of it."""


def recipes(folder: Path, options: argparse.Namespace) -> list[str]:
    """Return the recipes: int8 of both kinds, and three layers and low ranks with and without int8."""
    made = {
        "layers-3": ("layers-3", [distilled(options.shallow, RATE)]),
        "svd-50": (None, [{"low_rank": {"method": "svd", "budget": 0.5}}, distilled(options.narrow, RATE / 2)]),
    }
    files = [write_recipe(folder, name, *made[name], int8=int8) for name in made for int8 in ("", *SCHEMES)]
    return [*SCHEMES, *map(str, files)]


def work(options: argparse.Namespace) -> None:
    """Make the teacher, the candidates and the record."""
    do = Work(options)
    write_vit(do.folder / "base")
    do.finetune("teacher", "base", options.epochs, rate=RATE)
    run = do.compress("run", recipes(do.folder / "recipes", options), "--engine", "onnx", "--engine", "openvino")
    epochs = {name: getattr(options, name) for name in ("epochs", "shallow", "narrow")}
    record(f"images/{do.name}", {"epochs": epochs, "steps": do.steps.known, "results": without_texts(run / "results.json")}, options)


def main() -> None:
    arguments = parser(__doc__, "data", "work!", "threads", "core")
    arguments.set_defaults(data="cifar10")
    arguments.add_argument("--name", default="cifar10-vit", help="of the result")
    arguments.add_argument("--epochs", type=int, default=9, help="of the teacher")
    arguments.add_argument("--shallow", type=int, default=2, help="epochs of the student of three layers")
    arguments.add_argument("--narrow", type=int, default=1, help="epochs after the cut to low ranks")
    options = arguments.parse_args()
    stay_on(options.core)
    work(options)


if __name__ == "__main__":
    main()
