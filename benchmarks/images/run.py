"""Images, measured: a ResNet from random weights, its students, and distillation against labels alone.

    python -m benchmarks.images.run --work DIR [--data cifar10] [--epochs 14] [--shallow 4] [--narrow 3] [--core 0] [--threads 1]

The teacher is made by ``imbik finetune``, the candidates by ``imbik compress``. The narrow student is trained six times for as many
passes: by its teacher, and by ``imbik finetune`` on labels alone, with three seeds each, on the same views. A call that was killed goes on
where it stopped. Everything runs on one core (``--core``, -1 for all) with ``--threads`` compute threads. The result,
benchmarks/results/images/NAME.json, is results.json without the names of images, which test images each of the six has right, and the
commit, seconds and command of each step.
"""

from __future__ import annotations

import argparse
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.common import parser, record, stay_on
from benchmarks.compress.run import Steps, data_path, without_texts
from benchmarks.images.networks import TASK, distilled, write_network
from imbik.data import load_data
from imbik.models import load_checkpoint
from imbik.models.checkpoint import labels_of
from imbik.training.encoding import encode_for
from imbik.training.prediction import predict_logits
from imbik.types import Examples

SEEDS = (0, 1, 2)
RATE = 2e-3
"""Learning rate of all that starts from random weights: what ``imbik finetune`` takes for it."""
INT8 = "int8-static"
SCHEMES = {"int8": "dynamic", INT8: "static"}
"""Name of what a recipe ends with -> its scheme; OpenVINO runs the static one alone."""


def write_recipe(folder: Path, name: str, student: object, steps: list[dict[str, Any]], seed: int = 0, *, int8: str = "") -> Path:
    """Write a recipe; one with int8 (of :data:`SCHEMES`) begins like the one without, which is trained once for both.

    Args:
        folder, name: of the file.
        student: None for the teacher itself.
        steps: what comes before int8, in order.
    """
    steps = [*steps, *([{"quantize": {"scheme": SCHEMES[int8]}}] if int8 else [])]
    file = folder / f"{name}{'+' + int8 if int8 else ''}.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    recipe = {"name": file.stem, "steps": steps, "seed": seed} | ({} if student is None else {"student": student})
    file.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return file


def candidates(folder: Path, options: argparse.Namespace) -> list[str]:
    """Return the recipes of the main run: int8 of the teacher, and two students with and without it."""
    narrow = {"from": str(write_network(folder.parent / "narrow", width=0.5, blocks=1))}
    found = [INT8]
    for int8 in ("", INT8):
        found.append(str(write_recipe(folder, "blocks-1", "blocks-1", [distilled(options.shallow, RATE / 2)], int8=int8)))
        found.append(str(write_recipe(folder, "narrow-0", narrow, [distilled(options.narrow, RATE)], int8=int8)))
    return found


class Work:
    """The commands of the benchmark, in one folder.

    Args:
        options: of the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.data = options, data_path(options.data)
        self.name = options.name or self.data.stem
        self.steps = Steps(options.work / self.name, options.threads)
        self.folder = self.steps.folder

    def finetune(self, name: str, base: str, epochs: int, seed: int = 0, rate: float | None = None) -> Path:
        """Train on labels alone, at the rate of the command unless one is given; gives the folder of the model."""
        more = ["--task", TASK, "--epochs", str(epochs), *(["--seed", str(seed)] if seed else [])]
        more += [] if rate is None else ["--learning-rate", str(rate)]
        self._once(name, ["finetune", "--base", self.folder / base, "--data", self.data, "--out", self.folder / name, *more])
        return self.folder / name

    def compress(self, name: str, recipes: list[str], *more: str) -> Path:
        """Make and measure candidates; gives the folder of the run."""
        words: list[Any] = [part for recipe in recipes for part in ("--recipe", Path(recipe) if recipe.endswith(".yaml") else recipe)]
        out = self.folder / name
        threads = ["--threads", str(self.options.threads)]
        self._once(name, ["compress", "--teacher", self.folder / "teacher", "--data", self.data, "--out", out, *words, *threads, *more])
        return out

    def _once(self, name: str, words: list[Any]) -> None:
        """Run a command unless it has succeeded; it is recorded without this machine's folders."""
        shown = [word.name if isinstance(word, Path) else word for word in words]
        if not self.steps.finished(name, shown):
            self.steps.run(name, [str(word) for word in words], shown)

    @cached_property
    def test(self) -> Examples:
        """The test images, in the labels of the teacher."""
        labels = labels_of(load_checkpoint(self.folder / "teacher"))
        return load_data(self.data, task=TASK, labels=labels, say=lambda line: None).test

    def right(self, folder: Path) -> str:
        """Return which test images a model has right, a digit each."""
        model, test = load_checkpoint(folder), self.test
        answers = predict_logits(model.model, encode_for(TASK, test, model.tokenizer)).argmax(1)
        return "".join("01"[int(same)] for same in answers == np.asarray(test.targets))


def work(options: argparse.Namespace) -> None:
    """Make the teacher, the candidates, the six narrow students and the record."""
    do = Work(options)
    write_network(do.folder / "base")
    do.finetune("teacher", "base", options.epochs)
    recipes = do.folder / "recipes"
    run = do.compress("run", candidates(recipes, options), "--engine", "onnx", "--engine", "openvino")
    narrow, right = {"from": str(do.folder / "narrow")}, {}
    epochs = {name: getattr(options, name) for name in ("epochs", "shallow", "narrow")}
    for seed in SEEDS:
        made = run
        if seed:
            step = distilled(options.narrow, RATE)
            others = [str(write_recipe(recipes, f"narrow-{one}", narrow, [step], one)) for one in SEEDS[1:]]
            made = do.compress("run-seeds", others, "--engine", "onnx", "--no-rivals")
        right[f"labels {seed}"] = do.right(do.finetune(f"labels-{seed}", "narrow", options.narrow, seed))
        right[f"distilled {seed}"] = do.right(made / f"narrow-{seed}" / "model")
        numbers = {"epochs": epochs, "steps": do.steps.known, "results": without_texts(run / "results.json"), "right": right}
        record(f"images/{do.name}", numbers, options)  # seed by seed: an unfinished file still compares like with like


def main() -> None:
    arguments = parser(__doc__, "data", "work!", "threads", "core")
    arguments.set_defaults(data="cifar10")
    arguments.add_argument("--name", default="", help="of the result (default: the data set's)")
    arguments.add_argument("--epochs", type=int, default=14, help="of the teacher")
    arguments.add_argument("--shallow", type=int, default=4, help="epochs of the student that starts from the teacher's blocks")
    arguments.add_argument("--narrow", type=int, default=3, help="epochs of the narrow student, on labels and by the teacher")
    options = arguments.parse_args()
    stay_on(options.core)
    work(options)


if __name__ == "__main__":
    main()
