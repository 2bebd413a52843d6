"""A linear model over small color images: what anybody would try first, and what a network must beat."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from imbik.images.processor import ImageProcessor
from imbik.tasks.registry import task_of
from imbik.types import Examples, Splits, Step

SIDE = 8
"""Pixels of a side, to which every image is shrunk: 192 numbers in three colors."""

COSTS = (0.001, 0.01, 0.1)
"""C of the logistic regression: how much the fit counts against small weights."""

MOST_ROWS = 20_000
"""Rows of train that it is fitted on at most."""


class PixelModel(NamedTuple):
    """Logits = weights · x + bias of what a processor gives.

    Attributes:
        processor: shrinks the images.
        weights: ``(L, C · H · W)``.
        bias: ``(L,)``.
    """

    processor: ImageProcessor
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def scores(self, examples: Examples) -> NDArray[np.float32]:
        """Return the logits of images, ``(N, L)``."""
        return np.asarray(_rows(examples, self.processor) @ self.weights.T + self.bias, np.float32)


def linear_pixels(splits: Splits, seed: int = 0) -> tuple[Step, PixelModel]:
    """Fit the model on train, its C chosen on dev; return it behind the record of what was done.

    Args:
        splits: images with one label each.
        seed: of the rows that are drawn where train has more than :data:`MOST_ROWS`.
    """
    from sklearn.linear_model import LogisticRegression

    processor = ImageProcessor.plain(SIDE, SIDE)
    # images of every class: rows of a folder stand class by class
    chosen = np.sort(np.random.default_rng(seed).permutation(len(splits.train))[:MOST_ROWS])
    part = Examples([splits.train.texts[int(row)] for row in chosen], None, np.asarray(splits.train.targets)[chosen], "")
    known, dev = _rows(part, processor), _rows(splits.dev, processor)
    task, metric = task_of(splits.task), task_of(splits.task).metric(splits.metric)
    best: tuple[float, float, PixelModel] | None = None
    for cost in COSTS:
        machine = LogisticRegression(C=cost, max_iter=300, tol=1e-3).fit(known, part.targets)
        model = PixelModel(processor, *_logits(machine, len(splits.labels)))
        decoded = task.decode(np.asarray(dev @ model.weights.T + model.bias, np.float32))
        merit = metric.merit(float(task.score(splits.metric, decoded, np.asarray(splits.dev.targets))))
        if best is None or merit > best[0]:
            best = merit, cost, model
    assert best is not None
    return {"linear_pixels": {"side": SIDE, "c": best[1], "rows": len(part)}}, best[2]


def _rows(examples: Examples, processor: ImageProcessor) -> NDArray[np.float32]:
    """Return what the model reads of images, ``(N, C · H · W)``."""
    # one by one: a batch of large images would not fit
    found = [processor.batch([examples.texts[row]]).reshape(-1) for row in range(len(examples))]
    return np.stack(found) if found else np.zeros((0, 3 * SIDE * SIDE), np.float32)


def _logits(machine: Any, labels: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return weights and bias with a row for each label; one that train has no image of is never answered."""
    weights, bias = machine.coef_, machine.intercept_
    if len(machine.classes_) == 2:  # one row tells both apart
        weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    full, floor = np.zeros((labels, weights.shape[1]), np.float32), np.full(labels, -1e3, np.float32)
    full[machine.classes_], floor[machine.classes_] = weights, bias
    return full, floor
