"""Distil one convolutional network into a smaller one with imbik.distill: handwritten digits, no download.

    python examples/any_module.py

The teacher sees all 1,397 training images with labels; the student sees 100 of them without labels, and learns from what the teacher's
middle layer and output say. The same few lines serve any two PyTorch networks: a detector's backbone, a speech encoder, …
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import imbik


def network(width: int) -> nn.Module:
    """(B, 1, 8, 8) images -> (B, 10) logits."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * width, 10),
    )


def data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images and labels of 1,397 rows to learn from and 400 to test on."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    train, test = order[:1397], order[1397:]
    return images[train], labels[train], images[test], labels[test]


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    model.eval()
    with torch.no_grad():
        return float((model(images).argmax(1) == labels).float().mean())


def train_teacher(images: Tensor, labels: Tensor, epochs: int = 6) -> nn.Module:
    torch.manual_seed(0)
    teacher = network(32)
    optimizer = torch.optim.AdamW(teacher.parameters(), lr=3e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(labels)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(teacher(images[rows]), labels[rows]).backward()
            optimizer.step()
    return teacher.eval()


def main(seed: int = 1) -> dict[str, float]:
    images, labels, test_images, test_labels = data()
    teacher = train_teacher(images, labels)
    batches = list(images[:100].split(25))
    losses = {
        "logits alone": {("", ""): imbik.LogitsKL(temperature=4.0)},
        "middle layer too": {("6", "6"): imbik.HiddenMSE(), ("", ""): imbik.LogitsKL(temperature=4.0)},
    }
    result = {"teacher": accuracy(teacher, test_images, test_labels)}
    for name, chosen in losses.items():
        torch.manual_seed(seed)
        student = network(8)
        imbik.distill(teacher, student, batches, chosen, epochs=30, learning_rate=1e-2)
        result[name] = accuracy(student, test_images, test_labels)
    return result


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.1%}")
