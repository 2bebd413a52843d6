"""Distil a one-stage detector with imbik.distill: feature maps, class distributions, boxes where the teacher trusts its own; then int8.

    python examples/detector.py [--full] [--images cifar10]

A small detector of one grid without anchors: of each cell of 8 x 8 pixels the logits of every class and of *nothing*, and the distances
from its center to the four sides of a box. Scenes are composed here: of drawn discs and squares, or with ``--images`` (a folder with
train.parquet and test.parquet) of CIFAR-10's cars and trucks before other pictures of it. The student has half the width.
``--full`` takes more scenes and three seeds.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

import imbik

Floats = NDArray[np.float32]
SIDE, STRIDE, CLASSES = 64, 8, 2


@dataclass(frozen=True)
class Scenes:
    """Images ``(N, 3, 64, 64)``, and of each the boxes ``(K, 4)`` as left, top, right, bottom with their classes ``(K,)``."""

    images: Floats
    boxes: list[Floats]
    classes: list[NDArray[np.int64]]


Object = Callable[[np.random.Generator, int, int], tuple[Floats, NDArray[np.bool_]]]
"""Of a class and a size: ``(3, size, size)``, and where it covers the background."""


def drawn(random: np.random.Generator, kind: int, size: int) -> tuple[Floats, NDArray[np.bool_]]:
    """A disc or a square of one color."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    inside = x**2 + y**2 <= (size / 2) ** 2 if kind == 0 else np.ones((size, size), bool)
    pixels = random.uniform(0.3, 1.0, (3, 1, 1)) + random.normal(0, 0.05, (3, size, size))
    return pixels.astype(np.float32), inside


def gradient(random: np.random.Generator) -> Floats:
    """A background that goes from one color to another, with noise."""
    corners = torch.from_numpy(random.uniform(0, 0.7, (1, 3, 2, 2))).float()
    return F.interpolate(corners, size=SIDE, mode="bilinear", align_corners=True)[0].numpy() + random.normal(
        0, 0.1, (3, SIDE, SIDE)
    ).astype(np.float32)


def from_cifar(file: Path, each: int) -> tuple[Object, Callable[[np.random.Generator], Floats]]:
    """Cars (0) and trucks (1) as objects, and blurred pictures of other classes as backgrounds."""
    import pyarrow.parquet as parquet
    from PIL import Image

    table = parquet.read_table(file)
    labels = np.array(table["label"].to_pylist())

    def pictures(*names: str) -> Tensor:
        rows = np.concatenate([np.flatnonzero(labels == name)[:each] for name in names])
        files = (io.BytesIO(one["bytes"]) for one in table["image"].take(rows).to_pylist())
        return torch.from_numpy(np.stack([np.asarray(Image.open(one).convert("RGB")) for one in files])).permute(0, 3, 1, 2).float() / 255

    kinds, others = (pictures("automobile"), pictures("truck")), pictures("frog", "deer", "bird")

    def vehicle(random: np.random.Generator, kind: int, size: int) -> tuple[Floats, NDArray[np.bool_]]:
        picture = kinds[kind][random.integers(len(kinds[kind]))]
        return F.interpolate(picture[None], size=size, mode="area")[0].numpy(), np.ones((size, size), bool)

    def background(random: np.random.Generator) -> Floats:
        picture = others[random.integers(len(others))]
        return F.interpolate(picture[None], size=SIDE, mode="bilinear")[0].numpy()

    return vehicle, background


def compose(count: int, seed: int, thing: Object = drawn, background: Callable[[np.random.Generator], Floats] = gradient) -> Scenes:
    """Scenes of one to three objects of 14 to 32 pixels that do not overlap."""
    random = np.random.default_rng(seed)
    images, boxes, classes = [], [], []
    for _ in range(count):
        image, placed, kinds = background(random), [], []
        for _ in range(random.integers(1, 4)):
            size, kind = int(random.integers(14, 33)), int(random.integers(CLASSES))
            left, top = random.integers(0, SIDE - size + 1, 2)
            box = np.array([left, top, left + size, top + size], np.float32)
            if placed and overlap(box[None], np.stack(placed)).max() > 0:
                continue
            pixels, inside = thing(random, kind, size)
            image[:, top : top + size, left : left + size][:, inside] = pixels[:, inside]
            placed.append(box)
            kinds.append(kind)
        images.append(image)
        boxes.append(np.stack(placed))
        classes.append(np.array(kinds))
    return Scenes(np.stack(images).astype(np.float32), boxes, classes)


def block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class Detector(nn.Module):
    """(B, 3, H, W) images -> (B, C + 1 + 4, H / 8, W / 8): logits of the classes and of nothing, distances to the sides in cells."""

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = [(3, width, 2), (width, 2 * width, 2), (2 * width, 4 * width, 2), (4 * width, 4 * width, 1), (4 * width, 4 * width, 1)]
        self.backbone = nn.Sequential(*(block(*one) for one in sizes))
        self.classes = nn.Conv2d(4 * width, CLASSES + 1, 1)
        self.boxes = nn.Sequential(nn.Conv2d(4 * width, 4, 1), nn.Softplus())

    def forward(self, images: Tensor) -> Tensor:
        features = self.backbone(images)
        return torch.cat([self.classes(features), self.boxes(features)], 1)


def targets(scenes: Scenes) -> Tensor:
    """``(N, 5, 8, 8)``: the class of each cell (2 is nothing), and the distances; cells in the middle half of a box belong to it (FCOS)."""
    centers = np.arange(STRIDE / 2, SIDE, STRIDE, dtype=np.float32)
    made = np.zeros((len(scenes.images), 5, len(centers), len(centers)), np.float32)
    made[:, 0] = CLASSES
    for grid, boxes, classes in zip(made, scenes.boxes, scenes.classes, strict=True):
        for (left, top, right, bottom), kind in zip(boxes, classes, strict=True):
            # at least the cell that holds the box's own center
            reach = max((right - left) / 4, STRIDE / 2)
            x, y = (abs(centers - (low + high) / 2) <= reach for low, high in ((left, right), (top, bottom)))
            inside = y[:, None] & x[None, :]
            grid[0, inside] = kind
            sides = np.stack(np.broadcast_arrays(centers - left, (centers - top)[:, None], right - centers, (bottom - centers)[:, None]))
            grid[1:, inside] = sides[:, inside] / STRIDE
    return torch.from_numpy(made)


def label_loss(output: Tensor, batch: Any) -> Tensor:
    """Cross-entropy of all cells and 1 - IoU of the boxes (UnitBox), both for each cell that has an object."""
    wanted = batch[1]
    classes = wanted[:, 0].long()
    there = classes < CLASSES
    found, sides = (x.movedim(1, -1)[there] for x in (output[:, CLASSES + 1 :], wanted[:, 1:]))
    shared = torch.minimum(found, sides)
    # of two boxes around one point the parts in common are the smaller distances
    common = (shared[:, 0] + shared[:, 2]) * (shared[:, 1] + shared[:, 3])
    areas = [(one[:, 0] + one[:, 2]) * (one[:, 1] + one[:, 3]) for one in (found, sides)]
    iou = common / (areas[0] + areas[1] - common).clamp_min(1e-6)
    return (F.cross_entropy(output[:, : CLASSES + 1], classes, reduction="sum") + (1 - iou).sum()) / there.sum()


def overlap(boxes: Floats, others: Floats) -> Floats:
    """Intersection over union of every box ``(K, 4)`` with every other ``(M, 4)``: ``(K, M)``."""
    sides = np.minimum(boxes[:, None, 2:], others[None, :, 2:]) - np.maximum(boxes[:, None, :2], others[None, :, :2])
    common = np.clip(sides, 0, None).prod(2)
    areas = [(one[:, 2] - one[:, 0]) * (one[:, 3] - one[:, 1]) for one in (boxes, others)]
    return common / (areas[0][:, None] + areas[1][None] - common)


def detections(output: Floats, least: float = 0.05) -> list[tuple[Floats, Floats, NDArray[np.int64]]]:
    """Boxes, scores and classes of each image; of boxes of one class that overlap by half, the surest stays."""
    scores = torch.from_numpy(output[:, : CLASSES + 1]).softmax(1).numpy()
    centers = np.arange(STRIDE / 2, SIDE, STRIDE, dtype=np.float32)
    found = []
    for image, score in zip(output, scores, strict=True):
        left, top, right, bottom = image[CLASSES + 1 :] * STRIDE
        x, y = centers[None, :], centers[:, None]
        corners = np.stack([x - left, y - top, x + right, y + bottom], -1)
        kept: list[tuple[Floats, float, int]] = []
        for kind, row, column in sorted(np.argwhere(score[:CLASSES] > least), key=lambda place: -score[tuple(place)]):
            box = corners[row, column]
            alike = [one for one, _, other in kept if other == kind]
            if not alike or overlap(box[None], np.stack(alike)).max() < 0.5:
                kept.append((box, float(score[kind, row, column]), int(kind)))
        boxes = np.array([box for box, _, _ in kept], np.float32).reshape(-1, 4)
        found.append((boxes, np.array([one for _, one, _ in kept], np.float32), np.array([kind for _, _, kind in kept], np.int64)))
    return found


def average_precision(found: list[tuple[Floats, Floats]], wanted: list[Floats]) -> float:
    """AP of one class as pycocotools has it: boxes and scores of each image against the true boxes; NaN where there are none.

    In each image the surest box takes the free true box that it overlaps most, if by half. Precision is made to fall with recall, and
    read at 101 recalls from 0 to 1.
    """
    scores, right = [], []
    for (boxes, sure), true in zip(found, wanted, strict=True):
        free = np.ones(len(true), bool)
        for place in np.argsort(-sure, kind="stable")[:100]:
            # beside a box that is nowhere, so that there is one to look at
            overlaps = np.append(-1.0, np.where(free, overlap(boxes[place][None], true)[0], -1.0))
            best = len(overlaps) - 1 - int(overlaps[::-1].argmax())
            right.append(bool(overlaps[best] >= 0.5))
            if right[-1]:
                free[best - 1] = False
            scores.append(sure[place])
    total = sum(map(len, wanted))
    hits = np.array(right, bool)[np.argsort(-np.array(scores), kind="stable")].cumsum()
    precision = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
    places = np.searchsorted(hits / max(total, 1), np.linspace(0, 1, 101), side="left")
    return float(np.append(precision, 0.0)[places].mean()) if total else float("nan")


def mean_average_precision(answer: Callable[[Floats], Floats], scenes: Scenes) -> float:
    """mAP@50 of what gives outputs for images: the mean over the classes."""
    found = detections(answer(scenes.images))
    values = []
    for kind in range(CLASSES):
        ours = [(boxes[classes == kind], scores[classes == kind]) for boxes, scores, classes in found]
        values.append(average_precision(ours, [boxes[c == kind] for boxes, c in zip(scenes.boxes, scenes.classes, strict=True)]))
    return float(np.nanmean(values))


@dataclass(frozen=True)
class Setting:
    """How much is done: scenes to learn from and to test on, passes over them, the teacher's width, seeds."""

    train: int = 240
    test: int = 80
    epochs: int = 14
    width: int = 12
    seeds: int = 1


FULL = Setting(train=2400, test=400, epochs=20, width=16, seeds=3)


def train(model: nn.Module, batches: list[tuple[Tensor, Tensor]], epochs: int) -> nn.Module:
    """Train on labels alone."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=epochs * len(batches))
    for _ in range(epochs):
        for number in torch.randperm(len(batches)):
            optimizer.zero_grad()
            label_loss(model(batches[number][0]), batches[number]).backward()
            optimizer.step()
            schedule.step()
    return model.eval()


# labels alone in the same loop, which wants a loss: one that weighs nothing
ALONE = {("", ""): (1e-12, imbik.TrustedBoxes(CLASSES + 1))}
# beside the labels the teacher's last feature map, its classes of every cell, its boxes where it trusts them
DISTILLED = {
    ("backbone.4", "backbone.4"): (0.5, imbik.HiddenMSE(normalize=True)),
    ("classes", "classes"): (20.0, imbik.LogitsKL(temperature=2.0)),
    ("", ""): (1.0, imbik.TrustedBoxes(CLASSES + 1)),
}


@torch.no_grad()
def answered(model: nn.Module, images: Floats) -> Floats:
    return np.concatenate([model.eval()(part).numpy() for part in torch.from_numpy(images).split(128)])


def run(setting: Setting, seed: int, images: Path | None, out: Path) -> dict[str, float]:
    """mAP@50 on scenes that nobody trained on, and the bytes of the student's artefacts."""
    things = [from_cifar(images / f"{split}.parquet", 2000) if images else (drawn, gradient) for split in ("train", "test")]
    scenes = compose(setting.train, 2 * seed, *things[0])
    test = compose(setting.test, 2 * seed + 1, *things[1])
    batches = list(zip(torch.from_numpy(scenes.images).split(20), targets(scenes).split(20), strict=True))

    torch.manual_seed(seed)
    teacher = train(Detector(setting.width), batches, setting.epochs)
    result = {"teacher": mean_average_precision(partial(answered, teacher), test)}
    for name, losses in (("alone", ALONE), ("distilled", DISTILLED)):
        torch.manual_seed(seed)
        student = Detector(setting.width // 2)
        imbik.distill(teacher, student, batches, losses, label_loss=label_loss, epochs=setting.epochs, learning_rate=4e-3, seed=seed)
        result[name] = mean_average_precision(partial(answered, student), test)

    example = batches[0][0][:2]
    small = imbik.compress_module(student, example, [{"quantize": {"scheme": "static"}}], loader=[one for one, _ in batches[:10]])
    made = {"distilled": imbik.export_module(student, example, out / "float"), "int8": imbik.export_module(small, example, out / "int8")}
    result["int8"] = mean_average_precision(imbik.load_module(out / "int8" / "onnx", threads=1), test)
    return result | {f"{name}_bytes": float(one["onnx"].bytes) for name, one in made.items()}


def main(setting: Setting, images: Path | None = None) -> dict[str, list[float]]:
    """What :func:`run` gives, of every seed."""
    found = []
    for seed in range(setting.seeds):
        with tempfile.TemporaryDirectory() as out:
            found.append(run(setting, seed, images, Path(out)))
    return {name: [one[name] for one in found] for name in found[0]}


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--full", action="store_true", help="more scenes, three seeds")
    arguments.add_argument("--images", type=Path, help="folder with CIFAR-10's train.parquet and test.parquet")
    given = arguments.parse_args()
    for name, values in main(FULL if given.full else Setting(), given.images).items():
        print(f"{name:15s} {np.mean(values):,.3f} ({min(values):,.3f} to {max(values):,.3f} over {len(values)} seeds)")
