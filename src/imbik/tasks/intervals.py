"""How sure a measured quality is: percentile bootstrap (Efron 1979), and the paired ratio of student to teacher.

Items are drawn, whatever an item's answer looks like: a label, a set of labels, a number, a span.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from imbik.tasks.metrics import Draw
from imbik.tasks.outputs import Array
from imbik.tasks.registry import task_of
from imbik.tasks.task import Decoded

_CELLS = 4_000_000  # resamples times items held at once
_SIDES = (2.5, 97.5)


def bootstrap_interval(
    metric: str,
    decoded: Decoded,
    targets: Array,
    task: str,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Compute the 95 % interval of ``score(metric, ...)``: its percentiles over items drawn with replacement.

    Args:
        metric: its name.
        decoded: what :meth:`imbik.tasks.task.Task.decode` gave of N items, probabilities (N, L) say.
        targets: of the same items.
        task: its name.
        resamples: how often N items are drawn.
        seed: of the draws.

    Raises:
        UserError: the task has no such metric.

    >>> right = np.eye(2)[np.zeros(100, int)]
    >>> bootstrap_interval("accuracy", right, np.zeros(100, int), "classification")
    (1.0, 1.0)
    """
    draw = _draw(metric, decoded, targets, task)
    drawn = np.concatenate([draw(items) for items in _draws(len(targets), resamples, seed)])
    low, high = np.percentile(drawn, _SIDES)
    return float(low), float(high)


def paired_retention(
    metric: str,
    student: Decoded,
    teacher: Decoded,
    targets: Array,
    task: str,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Compute what a student keeps of its teacher, ``score(student) / score(teacher)``, and its 95 % interval.

    Both are scored on the same drawn items, so that what is hard for both cancels out. For a metric where less is better the
    ratio is turned round. A teacher that scores 0 or below gives NaN.

    Args:
        metric: its name.
        student, teacher: what the task decodes of the same items, probabilities (N, L) say.
        targets: of these items.
        task: its name.
        resamples, seed: see :func:`bootstrap_interval`.

    Returns:
        ``(value, low, high)``.

    Raises:
        UserError: the task has no such metric.

    >>> p = np.eye(2)[np.array([0, 1, 1, 0])]
    >>> paired_retention("accuracy", p, p, np.array([0, 1, 0, 0]), "classification")
    (1.0, 1.0, 1.0)
    """
    kind = task_of(task)
    above, below = _paired(metric, student, teacher, targets, task, resamples, seed)
    value = (kind.score(metric, student, targets), kind.score(metric, teacher, targets))
    if kind.metric(metric).less_is_better:
        above, below = below, above
        value = (value[1], value[0])
    # draws in which the teacher scores 0 or below have no ratio: -0.2 over -0.1 is not twice as good
    defined = below > 0
    if value[1] <= 0 or not defined.any():
        return (float("nan"),) * 3
    low, high = np.percentile(above[defined] / below[defined], _SIDES)
    return value[0] / value[1], float(low), float(high)


def paired_gain(
    metric: str,
    one: Decoded,
    other: Decoded,
    targets: Array,
    task: str,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Compute what one model has over another, ``score(one) - score(other)``, and its 95 % interval, on the same drawn items.

    For a metric where less is better the sign is turned round: a gain is above 0.

    Args:
        metric: its name.
        one, other: what the task decodes of the same items.
        targets: of these items.
        task: its name.
        resamples, seed: see :func:`bootstrap_interval`.

    Returns:
        ``(value, low, high)``.

    Raises:
        UserError: the task has no such metric.

    >>> right = np.eye(2)[np.zeros(8, int)]
    >>> paired_gain("accuracy", right, right[:, ::-1], np.zeros(8, int), "classification")
    (1.0, 1.0, 1.0)
    """
    kind = task_of(task)
    sign = -1.0 if kind.metric(metric).less_is_better else 1.0
    of_one, of_other = _paired(metric, one, other, targets, task, resamples, seed)
    low, high = np.percentile(sign * (of_one - of_other), _SIDES)
    value = kind.score(metric, one, targets) - kind.score(metric, other, targets)
    return sign * float(value), float(low), float(high)


def _paired(
    metric: str, one: Decoded, other: Decoded, targets: Array, task: str, resamples: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the scores of two models, (R,) each, on the same drawn items: two intervals of their own would be far too wide."""
    of_one, of_other = _draw(metric, one, targets, task), _draw(metric, other, targets, task)
    pairs = [(of_one(items), of_other(items)) for items in _draws(len(targets), resamples, seed)]
    ones, others = zip(*pairs, strict=True)
    return np.concatenate(ones), np.concatenate(others)


def _draws(items: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield item indices, (R, N), a bounded number of resamples at a time."""
    generator = np.random.default_rng(seed)
    # the draws do not depend on the step: the generator fills rows one after the other
    step = max(1, _CELLS // max(items, 1))
    for start in range(0, resamples, step):
        yield generator.integers(0, items, (min(step, resamples - start), items))


def _draw(metric: str, decoded: Decoded, targets: Array, task: str) -> Draw:
    """Return the metric as a function of drawn items (R, N) -> (R,)."""
    kind = task_of(task)
    return kind.metric(metric).draws(kind.predicted(decoded), targets, kind.width(decoded))
