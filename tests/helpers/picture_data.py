"""Small images of classes that can be told apart, as folders, files and rows."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

LABELS = ("blue", "green", "red")


def picture(label: str, seed: int, side: int = 12) -> Image.Image:
    """A noisy image in which one color is strong."""
    random = np.random.default_rng([LABELS.index(label), seed])
    levels = random.integers(0, 120, (side, side, 3))
    levels[:, :, 2 - LABELS.index(label)] += 120
    return Image.fromarray(levels.astype(np.uint8))


def stored(image: Image.Image, form: str = "PNG", **options) -> bytes:
    """The bytes of its file."""
    out = io.BytesIO()
    image.save(out, format=form, **options)
    return out.getvalue()


def class_folder(folder: Path, each: int, *, first: int = 0, side: int = 12) -> Path:
    """``folder/CLASS/N.png``."""
    for label in LABELS:
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + each):
            (folder / label / f"{number}.png").write_bytes(stored(picture(label, number, side)))
    return folder


def split_folder(folder: Path, train: int = 8, test: int = 4, side: int = 12) -> Path:
    """``folder/train/CLASS/N.png`` and ``folder/test/CLASS/N.png``."""
    class_folder(folder / "train", train, side=side)
    class_folder(folder / "test", test, first=1000, side=side)
    return folder
