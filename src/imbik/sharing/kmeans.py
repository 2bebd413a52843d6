"""A matrix of few values: k-means in one dimension."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 300
"""Lloyd's rounds at most: a guard, since the rounds end by themselves when no center moves."""

_BINS = 768
"""Bins of the exact start: its table of costs has this many rows and columns, about 5 MB in float64."""


def nearest_values(values: NDArray[np.float32], count: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Solve the k-means problem min Σ (w - c[i(w)])² in one dimension (Lloyd 1982).

    Returns the codebook c and the indices i.

    The values are sorted once; the members of a center then lie side by side, so a round costs a
    binary search per center and sums are differences of running sums. Lloyd's rounds end in a local
    optimum, a poor one where a few values are far out, so two starts are tried and the better end
    is returned: centers as dense as the cube root of the density (the optimum for many of them:
    Panter and Dite 1951), and the exact optimum over several hundred bins (dynamic programming:
    Wang and Song 2011).

    Args:
        values: any shape, finite.
        count: number of centers, 2 to 256.

    Returns:
        ``(codebook, indices)``: ``(count,)`` float32 in rising order, and uint8 of the shape of
        ``values``. With no more distinct values than ``count`` the codebook holds exactly those
        (the last one repeated).

    >>> codebook, indices = nearest_values(np.array([0.0, 0.1, 5.0, 5.1], dtype=np.float32), 2)
    >>> [round(float(value), 2) for value in codebook], indices.tolist()
    ([0.05, 5.05], [0, 0, 1, 1])
    """
    ordered = np.sort(values, axis=None).astype(np.float64)
    distinct = ordered[np.append(True, ordered[1:] != ordered[:-1])]
    if len(distinct) <= count:
        codebook = np.concatenate([distinct, np.repeat(distinct[-1:], count - len(distinct))]).astype(np.float32)
    else:
        # sums[j] - sums[i] is the sum of the sorted values i … j-1: no round reads the values
        # again.
        sums = np.concatenate([[0.0], np.cumsum(ordered)])
        starts = [_companded(ordered, count), _optimum(ordered, sums, count)]
        ends = [_lloyd(ordered, sums, start) for start in starts]
        # Σ (w - c)² = Σ w² - Σ n c² at the means: the start with the larger Σ n c² has the smaller error
        codebook = max(ends, key=lambda centers: _explained(ordered, sums, centers)).astype(np.float32)
    # In float64 between the float32 centers: every value goes to the center that is nearest.
    borders = (codebook[1:].astype(np.float64) + codebook[:-1]) / 2
    return codebook, np.searchsorted(borders, values, side="left").astype(np.uint8)


def _companded(ordered: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return centers whose density is the cube root of that of the values, up to a factor."""
    # A density needs some values a bin, and no more than a thousand bins tell anything.
    number, edges = np.histogram(ordered, bins=int(np.clip(len(ordered) // 16, 16, 1024)))
    share = np.concatenate([[0.0], np.cumsum(np.cbrt(number))])
    centers: NDArray[np.float64] = np.interp((np.arange(count) + 0.5) / count, share / share[-1], edges)
    return centers


def _optimum(ordered: NDArray[np.float64], sums: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return the best centers when the members of a bin stay together.

    Bins are even over the range and over the ranks.
    """
    even = np.searchsorted(ordered, np.linspace(ordered[0], ordered[-1], _BINS // 2))
    cuts = np.unique(np.concatenate([even, np.linspace(0, len(ordered), _BINS // 2).astype(np.int64), [0, len(ordered)]]))
    number = (cuts[None, :] - cuts[:, None]).astype(np.float64)
    total = sums[cuts][None, :] - sums[cuts][:, None]
    # minus what the mean of the bins i … j-1 explains: its error up to Σ w², which no cut changes
    cost = np.where(number > 0, -(total**2) / np.maximum(number, 1.0), np.inf)
    best, back = cost[0].copy(), []
    # best[j]: least cost of the first j bins with the centers so far; one more center a round.
    for _ in range(count - 1):
        paths = best[:, None] + cost
        back.append(paths.argmin(axis=0))
        best = np.minimum(paths.min(axis=0), 1e300)
    ends = [len(cuts) - 1]
    # From the end: which bin the last center begins at, then the one before it.
    for step in reversed(back):
        ends.append(int(step[ends[-1]]))
    borders = cuts[sorted({0, *ends})]
    means = np.diff(sums[borders]) / np.diff(borders)
    return np.concatenate([means, np.repeat(means[-1:], count - len(means))])


def _cuts(ordered: NDArray[np.float64], centers: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return where in the sorted values the members of each center begin, and the end."""
    inner = np.searchsorted(ordered, (centers[1:] + centers[:-1]) / 2, side="right")
    return np.concatenate([[0], inner, [len(ordered)]]).astype(np.int64)


def _lloyd(ordered: NDArray[np.float64], sums: NDArray[np.float64], centers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move every center to the mean of its members until none moves."""
    for _ in range(_ROUNDS):
        cuts = _cuts(ordered, centers)
        number = np.diff(cuts)
        # A center without members stays where it is.
        moved = np.where(number > 0, np.diff(sums[cuts]) / np.maximum(number, 1), centers)
        if np.array_equal(moved, centers):
            break
        centers = np.sort(moved)
    return centers


def _explained(ordered: NDArray[np.float64], sums: NDArray[np.float64], centers: NDArray[np.float64]) -> float:
    """Return Σ n c² over the centers' members, which is larger where the error is smaller."""
    cuts = _cuts(ordered, centers)
    number = np.diff(cuts)
    return float((np.diff(sums[cuts]) ** 2 / np.maximum(number, 1)).sum())
