"""A classifier of images made small: teacher, student of one block a stage, int8, artefact, answers. No download, a few seconds.

    python examples/vision.py [--out DIR]

The images are drawn: discs, squares and stripes in noise, in a folder for each class, as your own would lie. The teacher is a small ResNet
from random weights. ``imbik finetune`` and ``imbik compress --recipe blocks-1+int8-static`` do the same from the command line, and measure
it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from transformers import ResNetConfig

import imbik
from imbik.compress import apply_recipe
from imbik.export.artefact import export
from imbik.finetune import finetune
from imbik.images.processor import ImageProcessor
from imbik.jobs.progress import Silent
from imbik.recipes import parse_recipe
from imbik.training.settings import Training

SIDE = 32
SHAPES = ("disc", "square", "stripes")
RECIPE = """
name: small
student: blocks-1
steps:
  - distill: {epochs: 15, learning_rate: 3.0e-3, batch_tokens: 256}
  - quantize: {scheme: static}
"""


def drawn(shape: str, seed: int) -> NDArray[np.uint8]:
    """An image ``(32, 32, 3)`` of one shape, at some place, size and color."""
    random = np.random.default_rng([SHAPES.index(shape), seed])
    y, x = np.mgrid[:SIDE, :SIDE] - random.integers(11, 21, 2)[:, None, None]
    size = int(random.integers(6, 10))
    inside = {
        "disc": x**2 + y**2 < size**2,
        "square": (abs(x) < size) & (abs(y) < size),
        "stripes": (x // 3 % 2 == 0) & (abs(x) < size) & (abs(y) < size),
    }[shape]
    levels = random.integers(0, 90, (SIDE, SIDE, 3)) + inside[:, :, None] * random.integers(60, 160, 3)
    return levels.astype(np.uint8)


def write_images(folder: Path, train: int = 90, test: int = 30) -> Path:
    """``folder/train/CLASS/N.png`` and ``folder/test/CLASS/N.png``."""
    for split, rows in (("train", range(train)), ("test", range(train, train + test))):
        for shape in SHAPES:
            (folder / split / shape).mkdir(parents=True, exist_ok=True)
            for row in rows:
                Image.fromarray(drawn(shape, row)).save(folder / split / shape / f"{row}.png")
    return folder


def write_network(folder: Path) -> Path:
    """A network without weights: a config of transformers, and how images are prepared for it."""
    ResNetConfig(embedding_size=16, hidden_sizes=[16, 32], depths=[2, 2], layer_type="basic").save_pretrained(folder)
    ImageProcessor.plain(SIDE, SIDE).save_pretrained(folder)
    return folder


def main(out: Path) -> dict[str, float]:
    """Accuracy of teacher and int8 student on test, and their bytes."""
    splits = imbik.load_data(write_images(out / "images"), task="image-classification", say=print)
    schedule = Training(epochs=12, learning_rate=3e-3, batch_tokens=256)
    made = finetune(write_network(out / "network"), splits, out / "teacher", settings=schedule, progress=Silent(), say=print)
    teacher = made.checkpoint
    student = apply_recipe(teacher, splits, parse_recipe(RECIPE, "vision.py"), out / "work")

    # the folder is compared with PyTorch before it appears; running it needs imbik[images] alone
    kept = {"teacher": export(teacher, "onnx", out / "teacher-onnx", texts=splits.dev)}
    kept["student"] = export(student, "onnx", out / "student-onnx", texts=splits.dev, calibration=splits.train)
    result = {"teacher": made.test}
    images = sorted((out / "images" / "test").glob("*/*.png"))
    artefact = imbik.load_artefact(out / "student-onnx", threads=1)
    answers = [artefact.labels[number] for number in artefact.predict(images).argmax(1)]
    result["student"] = float(np.mean([answer == image.parent.name for answer, image in zip(answers, images, strict=True)]))
    return result | {f"{name}_bytes": float(artefact.bytes) for name, artefact in kept.items()}


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--out", type=Path, help="keeps what is made (default: a temporary folder)")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for name, value in main(given.out or Path(temporary)).items():
            print(f"{name:15s} {value:,.3f}" if value <= 1 else f"{name:15s} {value:,.0f}")
