"""Formulas of quality in plain NumPy. Those that resample take many draws at once, so that the bootstrap is cheap.

A *prediction* is what :meth:`imbik.tasks.task.Task.predicted` gives: label indices (N,), a 0/1 matrix (N, L) or values (N,).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from imbik.tasks.outputs import Array


def ratio(top: Array, bottom: Array) -> Array:
    """Return ``top / bottom`` with 0 where the bottom is 0."""
    # `where` leaves the zeros of `out` standing and raises no warning
    return np.divide(top, bottom, out=np.zeros(np.broadcast(top, bottom).shape), where=np.asarray(bottom) != 0)


def counts(predictions: Array, targets: Array, labels: int) -> Array:
    """True positives, predicted and actual positives of every label: (3, L) float64."""
    if targets.ndim == 2:
        both = (predictions != 0) & (targets != 0)
        return np.stack([both.sum(0), (predictions != 0).sum(0), (targets != 0).sum(0)]).astype(np.float64)
    hits = np.bincount(targets[predictions == targets], minlength=labels)
    return np.stack([hits, np.bincount(predictions, minlength=labels), np.bincount(targets, minlength=labels)]).astype(np.float64)


def accuracy(predictions: Array, targets: Array) -> float:
    """Share of items that are right; multi-label: all of whose labels are right (scikit-learn's subset accuracy).

    >>> accuracy(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0]))
    0.75
    """
    return float(correct(predictions, targets).mean())


def correct(predictions: Array, targets: Array) -> Array:
    """Which items are right, (N,) bool."""
    same = np.asarray(predictions == targets)
    return np.asarray(same.all(axis=1)) if same.ndim == 2 else same


def f1_from_counts(table: Array) -> Array:
    """``2 tp / (predicted + actual)`` from counts ``(..., 3, L)`` -> ``(..., L)``; 0 where a label never occurs."""
    return ratio(2 * table[..., 0, :], table[..., 1, :] + table[..., 2, :])


def macro_from_counts(table: Array) -> Array:
    """Mean F1 over the labels that occur in targets or predictions, ``(..., 3, L)`` -> ``(...)`` (as scikit-learn)."""
    present = table[..., 1, :] + table[..., 2, :] > 0
    return ratio(f1_from_counts(table).sum(-1), present.sum(-1))


def micro_from_counts(table: Array) -> Array:
    """F1 over all labels pooled, ``(..., 3, L)`` -> ``(...)``."""
    hits, predicted, actual = np.moveaxis(table.sum(-1), -1, 0)
    return ratio(2 * hits, predicted + actual)


def mcc_from_counts(table: Array) -> Array:
    """Matthews correlation of several classes (Gorodkin 2004) from counts ``(..., 3, L)`` -> ``(...)``.

    ``(c s - sum_k p_k t_k) / sqrt((s^2 - sum p_k^2) (s^2 - sum t_k^2))`` with s items, c of them right, class k predicted
    p_k and actual t_k times; 0 where it is not defined.
    """
    hits, predicted, actual = np.moveaxis(table, -2, 0)
    total = actual.sum(-1)
    top = hits.sum(-1) * total - (predicted * actual).sum(-1)
    spread = (total**2 - (predicted**2).sum(-1)) * (total**2 - (actual**2).sum(-1))
    return ratio(top, np.sqrt(spread))


def pearson(values: Array, targets: Array) -> Array:
    """Pearson correlation along the last axis; 0 where one side is constant.

    >>> float(pearson(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])))
    1.0
    """
    left, right = np.asarray(values, np.float64), np.asarray(targets, np.float64)
    left, right = left - left.mean(-1, keepdims=True), right - right.mean(-1, keepdims=True)
    top = (left * right).sum(-1)
    return ratio(top, np.sqrt((left**2).sum(-1) * (right**2).sum(-1)))


def ranks(values: Array) -> Array:
    """Ranks along the last axis, ties get their mean rank: ``(..., N)`` -> ``(..., N)`` float64.

    >>> ranks(np.array([10.0, 20.0, 20.0, 5.0])).tolist()
    [2.0, 3.5, 3.5, 1.0]
    """
    values = np.asarray(values)
    order = np.argsort(values, axis=-1, kind="stable")
    ordered = np.take_along_axis(values, order, -1)
    place = np.arange(values.shape[-1])
    # runs of equal values in the sorted order; a whole batch of resamples (R, N) at once, which a
    # loop over ties could not do
    starts = np.ones(values.shape, bool)
    starts[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    ends = np.roll(starts, -1, -1)
    ends[..., -1] = True
    # every place of a run gets its first place from the left and its last one from the right
    first = np.maximum.accumulate(np.where(starts, place, 0), axis=-1)
    reverse = np.where(ends, place, values.shape[-1])[..., ::-1]
    last = np.minimum.accumulate(reverse, axis=-1)[..., ::-1]
    result = np.empty(values.shape, np.float64)
    # + 1: ranks count from 1, places from 0
    np.put_along_axis(result, order, (first + last) / 2 + 1, -1)
    return result


def spearman(values: Array, targets: Array) -> Array:
    """Spearman correlation along the last axis: Pearson's of the ranks."""
    return pearson(ranks(values), ranks(targets))


def rmse(values: Array, targets: Array) -> Array:
    """Root mean squared error along the last axis."""
    return np.asarray(np.sqrt(mse(values, targets)))


def mse(values: Array, targets: Array) -> Array:
    """Mean squared error along the last axis."""
    gap = np.asarray(values, np.float64) - np.asarray(targets, np.float64)
    return np.asarray((gap**2).mean(-1))


def mae(values: Array, targets: Array) -> Array:
    """Mean absolute error along the last axis.

    >>> float(mae(np.array([1.0, 2.0]), np.array([1.0, 4.0])))
    1.0
    """
    return np.asarray(np.abs(np.asarray(values, np.float64) - np.asarray(targets, np.float64)).mean(-1))


def calibration_error(confidence: Array, right: Array, bins: int = 15) -> float:
    """Compute the expected calibration error (Guo et al. 2017): mean gap between confidence and accuracy over equal-width bins.

    ``sum_b n_b / n |accuracy_b - confidence_b|``.

    Args:
        confidence: stated probabilities, (M,).
        right: whether what they were stated of is so, (M,).
        bins: number of bins; bin b covers (b/bins, (b+1)/bins].

    >>> round(calibration_error(np.array([0.8, 0.8]), np.array([True, False])), 6)
    0.3
    """
    confidence = np.asarray(confidence, np.float64)
    # ceil - 1: a confidence on an edge belongs to the bin below it; 0 itself to the first
    where = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    # n_b · (accuracy_b - confidence_b) is a difference of sums, so empty bins need no care
    gap = np.bincount(where, weights=right, minlength=bins) - np.bincount(where, weights=confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(confidence))


def per_label(predictions: Array, targets: Array, labels: Sequence[str]) -> Mapping[str, Mapping[str, float]]:
    """Compute ``precision``, ``recall``, ``f1`` and ``support`` of every label, by name."""
    return quality_of_labels(counts(predictions, targets, len(labels)), labels)


def quality_of_labels(table: Array, labels: Sequence[str]) -> Mapping[str, Mapping[str, float]]:
    """Compute the same from counts ``(3, L)``."""
    hits, predicted, actual = table
    columns = (ratio(hits, predicted), ratio(hits, actual), f1_from_counts(table), actual)
    return {
        name: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
        for name, p, r, f, n in zip(labels, *columns, strict=True)
    }
