"""Thresholds of a cascade: how sure a stage must be, chosen on dev for a stated target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_PLACES = 48
"""Thresholds of a stage that are tried, at even shares of its texts; of the stage before the last each place between two texts."""


@dataclass(frozen=True)
class Target:
    """What the thresholds are chosen for; one of both.

    Attributes:
        keep: share of the teacher's right answers on dev; the cheapest cascade that keeps it.
        cost: processor time, as a share of the last stage's alone; the best cascade within it.
    """

    keep: float | None = 0.99
    cost: float | None = None


@dataclass(frozen=True)
class Policy:
    """Thresholds and what they give on dev.

    Attributes:
        thresholds: ``K - 1`` confidences, one for each stage but the last.
        right: share of right answers.
        cost: processor seconds of a text.
        shares: of the texts, answered by each of the K stages.
        met: whether the target is.
    """

    thresholds: tuple[float, ...]
    right: float
    cost: float
    shares: tuple[float, ...]
    met: bool = True


def choose(right: Bools, sure: Floats, costs: Sequence[float], target: Target, reference: float | None = None) -> Policy:
    """Return the thresholds that meet a target best; where none does, the ones that come nearest, ``met`` False.

    A text is answered by the first stage that is sure enough; it costs what all stages that saw it cost.

    Args:
        right: ``(K, N)``: whether each stage answers each text of dev rightly.
        sure: ``(K, N)``: its calibrated confidence.
        costs: K processor seconds of a text, cheapest first.
        target: what is asked.
        reference: the teacher's share of right answers; None: that of the last stage.
    """
    found = list(_policies(right, sure, np.asarray(costs, np.float64)))
    if target.cost is not None:
        most = target.cost * float(costs[-1])
        within = [one for one in found if one[2] <= most]
        best = max(within or found, key=lambda one: (one[1], -one[2])) if within else min(found, key=lambda one: one[2])
        return _policy(best[0], right, sure, costs, met=bool(within))
    least = float(target.keep or 0.0) * (float(right[-1].mean()) if reference is None else reference)
    keeping = [one for one in found if one[1] >= least - 1e-12]
    best = min(keeping, key=lambda one: one[2]) if keeping else max(found, key=lambda one: (one[1], -one[2]))
    return _policy(best[0], right, sure, costs, met=bool(keeping))


def evaluate(thresholds: Sequence[float], sure: Floats) -> NDArray[np.int64]:
    """Return the stage that answers each text, ``(N,)``.

    >>> evaluate((0.9,), np.array([[0.95, 0.5], [0.2, 0.2]])).tolist()
    [0, 1]
    """
    enough = np.concatenate([sure[:-1] >= np.asarray(thresholds)[:, None], np.ones((1, sure.shape[1]), bool)])
    return np.asarray(enough.argmax(axis=0), np.int64)


def _policy(thresholds: Sequence[float], right: Bools, sure: Floats, costs: Sequence[float], *, met: bool) -> Policy:
    by = evaluate(thresholds, sure)
    count = right.shape[1]
    shares = np.bincount(by, minlength=len(right)) / count
    # a text that stage k answers was seen by all stages up to k
    cost = float(np.cumsum(costs)[by].mean())
    return Policy(tuple(map(float, thresholds)), float(right[by, np.arange(count)].mean()), cost, tuple(map(float, shares)), met)


def _policies(right: Bools, sure: Floats, costs: Floats) -> Iterator[tuple[tuple[float, ...], float, float]]:
    """Yield ``(thresholds, share of right answers, cost of a text)`` of all policies that are tried."""
    count = right.shape[1]
    if len(right) == 1:
        yield (), float(right[0].mean()), float(costs[0])
        return
    if len(right) == 2:
        yield from _of_two(right, sure, costs)
        return
    for threshold in _between(sure[0], _PLACES):
        done = sure[0] >= threshold
        left = ~done
        gained, spent = float(right[0][done].sum()), float(costs[0])
        if not left.any():
            yield (threshold, *([1.0] * (len(right) - 2))), gained / count, spent
            continue
        share = float(left.mean())
        for others, others_right, others_cost in _policies(right[1:, left], sure[1:, left], costs[1:]):
            yield (threshold, *others), gained / count + share * others_right, spent + share * others_cost


def _of_two(right: Bools, sure: Floats, costs: Floats) -> Iterator[tuple[tuple[float, ...], float, float]]:
    """Yield the policies of two stages: every place between two texts in the order of the first one's confidence."""
    count = right.shape[1]
    order = np.argsort(sure[0], kind="stable")
    # the first n texts, of which the first stage is least sure, go on to the second
    passed = np.concatenate([[0], np.cumsum(right[1][order])])
    kept = np.concatenate([np.cumsum(right[0][order][::-1])[::-1], [0]])
    for number, threshold in zip(*_places(sure[0][order]), strict=True):
        yield (float(threshold),), float(passed[number] + kept[number]) / count, float(costs[0] + costs[1] * number / count)


def _places(values: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Return how many of the sorted values lie below each threshold, and the thresholds: between two different values, below and above."""
    edges = np.flatnonzero(np.diff(values) > 0) + 1
    middles = (values[edges - 1] + values[edges]) / 2
    return np.concatenate([[0], edges, [len(values)]]), np.concatenate([[0.0], middles, [np.nextafter(max(values[-1], 1.0), 2.0)]])


def _between(values: Floats, most: int) -> list[float]:
    """Return at most so many thresholds at even shares of the values, "none goes on" and "all go on" among them."""
    _, thresholds = _places(np.sort(values))
    chosen = np.unique(np.linspace(0, len(thresholds) - 1, most).round().astype(int))
    return [float(value) for value in thresholds[chosen]]
