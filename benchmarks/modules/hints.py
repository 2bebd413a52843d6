"""A hint beside the logits: examples/any_module.py with students of three seeds.

    python -m benchmarks.modules.hints

Beside the example's two ways to learn, logits alone and with the middle layer, stands the middle layer through a learned projection.
"""

from __future__ import annotations

import runpy

import torch

import imbik
from benchmarks.common import ROOT, parser, record

SEEDS = (1, 2, 3)


def learned(example: dict[str, object], seed: int) -> float:
    """Return the accuracy of a student whose hint goes through a learned projection."""
    images, labels, test_images, test_labels = example["data"]()  # type: ignore[operator]
    teacher = example["train_teacher"](images, labels)  # type: ignore[operator]
    torch.manual_seed(seed)
    student = example["network"](8)  # type: ignore[operator]
    losses = {("6", "6"): imbik.HiddenMSE(project=True), ("", ""): imbik.LogitsKL(temperature=4.0)}
    imbik.distill(teacher, student, list(images[:100].split(25)), losses, epochs=30, learning_rate=1e-2)
    return float(example["accuracy"](student, test_images, test_labels))  # type: ignore[operator]


def main() -> None:
    """Run the example with each seed and record what it gives."""
    options = parser(__doc__, "threads").parse_args()
    torch.set_num_threads(options.threads)
    example = runpy.run_path(str(ROOT / "examples" / "any_module.py"))
    found: dict[str, list[float]] = {}
    for seed in SEEDS:
        for name, value in {**example["main"](seed), "learned projection": learned(example, seed)}.items():
            found.setdefault(name, []).append(value)
    record("modules/hints", found, options)


if __name__ == "__main__":
    main()
