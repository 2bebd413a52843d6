"""Compiled predictions: pairs of codes, averages over posterior samples, and ranks among all items."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from imbik.recommend.data.ratings import Array
from imbik.recommend.kernels.gaussian import FAST
from imbik.recommend.kernels.parallel import parallel


@parallel(fastmath=FAST)
def dots(users: Array, items: Array, left: Array, right: Array) -> Array:
    """Return left[users] . right[items] for pairs of codes, (N,) float32."""
    out = np.empty(len(users), np.float32)
    for q in prange(len(users)):
        x, z = left[users[q]], right[items[q]]
        total = np.float32(0.0)
        for d in range(left.shape[1]):
            total += x[d] * z[d]
        out[q] = total
    return out


@parallel(fastmath=FAST)
def sampled_means(users: Array, items: Array, left: Array, right: Array) -> Array:
    """Return bias_u + bias_i + p . q of each sample, (pairs, samples); left and right (samples, n, 1 + rank), bias first."""
    count, dims = left.shape[0], left.shape[2]
    out = np.empty((len(users), count), np.float32)
    for q in prange(len(users)):
        for s in range(count):
            x, z = left[s, users[q]], right[s, items[q]]
            total = x[0] + z[0]
            for d in range(1, dims):
                total += x[d] * z[d]
            out[q, s] = total
    return out


@parallel()
def ranks(scores: Array, indptr: Array, items: Array) -> Array:
    """Return the ranks (0 = best) of items[indptr[r]:indptr[r + 1]] within row r of scores, and the candidates of the row.

    Ties count half; -inf is not a candidate. Shape (len(items), 2).
    """
    out = np.empty((len(items), 2))
    for row in prange(scores.shape[0]):
        candidates = 0
        for j in range(scores.shape[1]):
            candidates += scores[row, j] > -np.inf
        for q in range(indptr[row], indptr[row + 1]):
            own = scores[row, items[q]]
            above, equal = 0, 0
            for j in range(scores.shape[1]):
                above += scores[row, j] > own
                equal += scores[row, j] == own
            out[q, 0] = above + 0.5 * (equal - 1)  # an item equals itself
            out[q, 1] = candidates
    return out


@njit(cache=True)  # type: ignore[untyped-decorator]
def _quantile(means: Array, sds: Array, q: float, guess: float) -> float:
    """Return x with mean_s Phi((x - means[s]) / sds[s]) = q: Newton from ``guess``, inside a bracket that only shrinks."""
    reach = 12.0 * sds.max()  # Phi(-12) is 2e-33: no quantile lies further out
    close = 1e-7 * sds.max()  # in the unit of the ratings, whatever it is
    low, high, x = means.min() - reach, means.max() + reach, guess
    for _ in range(60):
        gap, slope = -q, 0.0
        for s in range(len(sds)):
            z = (x - means[s]) / sds[s]
            gap += 0.5 * math.erfc(-z * 0.7071067811865476) / len(sds)
            slope += math.exp(-0.5 * z * z) * 0.3989422804014327 / (sds[s] * len(sds))
        if gap > 0.0:
            high = x
        else:
            low = x
        new = x - gap / max(slope, 1e-300)
        if not low < new < high:  # far from the mass the slope vanishes and Newton leaps
            new = 0.5 * (low + high)
        if abs(new - x) < close:
            break
        x = new
    return float(x)


@parallel()
def mixture_quantiles(means: Array, sds: Array, q: float, normal: float) -> Array:
    """Return quantile q of each row's mixture of normals, (n,); means (n, S), sds (S,), ``normal`` that quantile of N(0, 1).

    >>> float(np.round(mixture_quantiles(np.zeros((1, 4)), np.ones(4), 0.95, 1.6)[0], 4))
    1.6449
    """
    out = np.empty(len(means))
    for row in prange(len(means)):
        spread = math.sqrt(means[row].var() + (sds * sds).mean())
        out[row] = _quantile(means[row], sds, q, means[row].mean() + normal * spread)
    return out
