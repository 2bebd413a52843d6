"""One budget for many matrices: which rank each gets, and which stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float, int]
"""What a choice costs, what it loses, and what it stands for."""


@dataclass(frozen=True)
class Curve:
    """Losses of a matrix at every rank that would make it smaller.

    Attributes:
        losses: ``(R,)``, the loss at rank 1, 2, …, R; falling. At full size it loses nothing.
        unit: what one rank costs.
        whole: what the matrix costs as it is, more than R · unit.
        step: ranks are multiples of it.
    """

    losses: NDArray[np.float64]
    unit: float
    whole: float
    step: int = 1

    def points(self) -> list[Point]:
        """List (cost, loss, rank) of every choice, cheapest first.

        Rank 0 stands for the matrix as it is.
        """
        ranks = range(self.step, len(self.losses) + 1, self.step)
        return [(self.unit * r, float(self.losses[r - 1]), r) for r in ranks] + [(self.whole, 0.0, 0)]


def allocate(curves: Sequence[Curve], budget: float) -> list[int] | None:
    """Choose the ranks whose losses have the least sum among all that cost at most ``budget``.

    Rank 0: the matrix stays as it is.

    Each curve is replaced by its lower convex hull, and the hulls' pieces are bought in the order
    of loss saved per cost. For a convex curve that is optimal (every other choice of the same cost
    swaps a piece for one that saves less: Everett 1963), whatever the number of matrices; a curve
    that is not convex (the last step, from the largest rank to the whole matrix, saves much for
    little) is only ever left on its hull. The first piece that no longer fits is bought as far as
    the budget goes: at most one matrix is off its hull, which is all that separates the result from
    the optimum.

    Returns:
        A rank per curve, or None when even the smallest ranks cost more than the budget.

    >>> steep, flat = Curve(np.array([1.0, 0.1]), 1, 3), Curve(np.array([1.0, 0.9]), 1, 3)
    >>> allocate([steep, flat], 3), allocate([steep, flat], 5), allocate([steep, flat], 6), allocate([steep, flat], 1)
    ([2, 1], [2, 0], [0, 0], None)
    """
    points = [curve.points() for curve in curves]
    chosen = buy(points, budget)
    return None if chosen is None else [choices[index][2] for choices, index in zip(points, chosen, strict=True)]


def buy(points: Sequence[Sequence[Point]], budget: float) -> list[int] | None:
    """Choose one point of every list.

    Their losses have the least sum among all that cost at most ``budget``; how is said at
    :func:`allocate`. Each list stands in the order of rising cost and falling loss.

    Returns:
        The index of each list's point, or None when even the first ones cost more than the budget.
    """
    chosen = [0] * len(points)
    # Everyone starts at the cheapest choice; what is left buys pieces of the hulls.
    left = budget - sum(choices[0][0] for choices in points)
    # Budgets are sums of floats: a billionth over is not over.
    if left < -1e-9:
        return None
    pieces = [piece for number, choices in enumerate(points) for piece in _pieces(number, choices)]
    stopped: set[int] = set()
    # Steepest first: slopes are negative, and on a convex hull they come in their own order.
    for _, number, target in sorted(pieces):
        if number in stopped:
            continue
        choices = points[number]
        now = chosen[number]
        # A piece that does not fit is cut short, off the hull, and its curve is done.
        while target > now and choices[target][0] - choices[now][0] > left + 1e-9:
            target -= 1
            stopped.add(number)
        left -= choices[target][0] - choices[now][0]
        chosen[number] = target
    return chosen


def _pieces(number: int, choices: Sequence[Point]) -> list[tuple[float, int, int]]:
    """List the pieces of the lower convex hull, from the cheapest choice on.

    Each as (slope, which curve, index that it leads to).
    """
    hull: list[int] = []
    for index in range(len(choices)):
        # A point above the line between its neighbors is no corner of the hull.
        while len(hull) >= 2 and _slope(choices, hull[-1], index) <= _slope(choices, hull[-2], hull[-1]):
            hull.pop()
        hull.append(index)
    return [(_slope(choices, a, b), number, b) for a, b in pairwise(hull)]


def _slope(choices: Sequence[Point], start: int, stop: int) -> float:
    """Return the loss per cost between two choices; negative."""
    return (choices[stop][1] - choices[start][1]) / (choices[stop][0] - choices[start][0])
