"""How sure a measured quality is: percentile bootstrap (Efron 1979), and the paired ratio of student to teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imbik.tasks.metrics import COUNTED, LESS_IS_BETTER, VALUED, correct, metric_for, score
from imbik.tasks.task import TASKS
from imbik.types import TaskName

Array = NDArray[Any]
_CELLS = 4_000_000  # resamples times items held at once
_SIDES = (2.5, 97.5)


def bootstrap_interval(
    metric: str,
    probabilities: Array,
    targets: Array,
    task: TaskName,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """The 95 % interval of ``score(metric, ...)``: its percentiles over items drawn with replacement.

    Raises:
        UserError: the task has no such metric.

    >>> right = np.eye(2)[np.zeros(100, int)]
    >>> bootstrap_interval("accuracy", right, np.zeros(100, int), "classification")
    (1.0, 1.0)
    """
    scorer = _scorer(metric, probabilities, targets, task)
    drawn = np.concatenate([scorer(items) for items in _draws(len(targets), resamples, seed)])
    low, high = np.percentile(drawn, _SIDES)
    return float(low), float(high)


def paired_retention(
    metric: str,
    student: Array,
    teacher: Array,
    targets: Array,
    task: TaskName,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """What a student keeps of its teacher: ``score(student) / score(teacher)`` and its 95 % interval ``(value, low, high)``.

    Both are scored on the same drawn items, so that what is hard for both cancels out. For rmse, where less is better, the
    ratio is turned round. A teacher that scores 0 gives NaN.

    Args:
        student, teacher: probabilities (N, L) of the same items.

    Raises:
        UserError: the task has no such metric.

    >>> p = np.eye(2)[np.array([0, 1, 1, 0])]
    >>> paired_retention("accuracy", p, p, np.array([0, 1, 0, 0]), "classification")
    (1.0, 1.0, 1.0)
    """
    first, second = _scorer(metric, student, targets, task), _scorer(metric, teacher, targets, task)
    pairs = [(first(items), second(items)) for items in _draws(len(targets), resamples, seed)]
    above, below = (np.concatenate(side) for side in zip(*pairs, strict=True))
    value = (score(metric, student, targets, task), score(metric, teacher, targets, task))
    if metric in LESS_IS_BETTER:
        above, below, value = below, above, (value[1], value[0])
    defined = below != 0
    if value[1] == 0 or not defined.any():
        return (float("nan"),) * 3
    low, high = np.percentile(above[defined] / below[defined], _SIDES)
    return value[0] / value[1], float(low), float(high)


def _draws(items: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Item indices, (R, N), a bounded number of resamples at a time."""
    generator = np.random.default_rng(seed)
    step = max(1, _CELLS // max(items, 1))
    for start in range(0, resamples, step):
        yield generator.integers(0, items, (min(step, resamples - start), items))


def _scorer(metric: str, probabilities: Array, targets: Array, task: TaskName) -> Callable[[Array], Array]:
    """Drawn items (R, N) -> the metric of every draw, (R,)."""
    metric_for(task, metric)
    predictions = TASKS[task].predicted(probabilities)
    if metric == "accuracy":
        right = correct(predictions, targets).astype(np.float32)
        return lambda items: right[items].mean(1, dtype=np.float64)
    if metric in VALUED:
        return lambda items: VALUED[metric](predictions[items], targets[items])
    if task == "classification":
        names = np.arange(probabilities.shape[1])
        predictions, targets = predictions[:, None] == names, targets[:, None] == names
    else:
        predictions, targets = predictions != 0, targets != 0
    table = np.concatenate([predictions & targets, predictions, targets], axis=1).astype(np.float32)  # (N, 3L)

    def counted(items: Array) -> Array:
        draws, size = items.shape
        times = np.bincount((items + size * np.arange(draws)[:, None]).ravel(), minlength=draws * size)
        weights = times.reshape(draws, size).astype(np.float32)
        return COUNTED[metric]((weights @ table).reshape(draws, 3, -1).astype(np.float64))

    return counted
