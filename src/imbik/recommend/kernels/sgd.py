"""Compiled stochastic gradient descent, parallel and still deterministic.

The matrix is cut into BLOCKS x BLOCKS blocks of users x items. Blocks on one (wrapped) diagonal share neither a user nor
an item, so they can run at the same time without a race; an epoch visits the diagonals in a random order (Gemulla et
al., KDD 2011). The cut does not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from imbik.recommend.data.ratings import Array, Ratings
from imbik.recommend.kernels.gaussian import FAST
from imbik.recommend.kernels.parallel import parallel, sum_in_order

BLOCKS = 8

Triples = tuple[Array, Array, Array]
"""users, items, values of all ratings, sorted by block."""
Sides = tuple[Array, Array]
"""Rows of users and items, (n, 1 + rank), bias first."""
Rates = tuple[np.float32, np.float32, np.float32, np.float32, np.float32]
"""Learning rate, ridge on biases, ridge on factors, mean, 1 with biases or 0."""
Link = tuple[np.float32, np.float32]
"""Lowest rating, and what the highest is above it, of a prediction lowest + span g(x) with g the logistic function; span 0: x itself."""
IDENTITY: Link = (np.float32(0.0), np.float32(0.0))


def stratify(ratings: Ratings, rng: np.random.Generator) -> tuple[Array, Array, Array, Array]:
    """Return (users, items, values) shuffled and sorted by (diagonal, user block), and the borders of the blocks."""
    user_block = rng.integers(0, BLOCKS, len(ratings.user_ids))[ratings.users]
    item_block = rng.integers(0, BLOCKS, len(ratings.item_ids))[ratings.items]
    # The diagonal of a cell is the distance of its blocks: on one diagonal no block row or column comes twice.
    key = (item_block - user_block) % BLOCKS * BLOCKS + user_block
    shuffled = rng.permutation(len(ratings))
    order = shuffled[np.argsort(key[shuffled], kind="stable")]
    borders = np.searchsorted(key[order], np.arange(BLOCKS * BLOCKS + 1))
    return ratings.users[order], ratings.items[order], ratings.values[order], borders


@njit(cache=True, fastmath=FAST)  # type: ignore[untyped-decorator]
def _error(value: np.float32, x: np.float32, link: Link) -> tuple[np.float32, np.float32]:
    """Return the error of a rating that is predicted through a link, and the slope of the prediction over x."""
    low, span = link
    if span == np.float32(0.0):
        return value - x, np.float32(1.0)
    share = np.float32(1.0) / (np.float32(1.0) + np.exp(-x))
    return value - low - span * share, span * share * (np.float32(1.0) - share)


@parallel(fastmath=FAST)
def sgd_epoch(triples: Triples, borders: Array, diagonals: Array, sides: Sides, rates: Rates, link: Link) -> float:
    """Pass over all ratings once; update both sides in place and return the sum of squared errors before each update."""
    users, items, values = triples
    left, right = sides
    rate, bias_ridge, ridge, mean, biased = rates
    errors = np.zeros(BLOCKS)  # one cell for each block, added up in order: the sum does not depend on the threads
    for diagonal in diagonals:
        for block in prange(BLOCKS):
            total = 0.0
            for q in range(borders[diagonal * BLOCKS + block], borders[diagonal * BLOCKS + block + 1]):
                p, z = left[users[q]], right[items[q]]
                guess = np.float32(0.0)
                for d in range(1, len(p)):
                    guess += p[d] * z[d]
                error, slope = _error(values[q], np.float32(mean + p[0] + z[0] + guess), link)
                total += float(error * error)
                error *= slope  # minus half of the gradient of the square, over x
                p[0] += biased * rate * (error - bias_ridge * p[0])
                z[0] += biased * rate * (error - bias_ridge * z[0])
                for d in range(1, len(p)):
                    old = p[d]  # the item's step is taken from where the user was, not from where it went
                    p[d] += rate * (error * z[d] - ridge * old)
                    z[d] += rate * (error * old - ridge * z[d])
            errors[block] += total
    return float(sum_in_order(errors))


@njit(cache=True, fastmath=FAST)  # type: ignore[untyped-decorator]
def constrained_epoch(order: Array, by_user: Triples, sides: Sides, traits: Array, rates: Rates, link: Link) -> float:
    """Pass over all users once with constrained PMF: p_u + mean of the traits w_j of the items that u has rated.

    The gradient of the traits (items, rank) is collected over a user's ratings and applied once. Not parallel: every user
    writes to items and traits of all blocks. Returns the sum of squared errors.
    """
    indptr, indices, values = by_user
    left, right = sides
    rate, bias_ridge, ridge, mean, biased = rates
    rank = traits.shape[1]
    whole, slope = np.zeros(rank, np.float32), np.zeros(rank, np.float32)
    total = 0.0
    for user in order:
        start, stop = indptr[user], indptr[user + 1]
        if start == stop:
            continue
        share = np.float32(1.0 / (stop - start))
        p = left[user]
        # The mean of the traits is held during a user's ratings, which saves a sum over n items for each of n ratings.
        whole[:] = 0.0
        slope[:] = 0.0
        for q in range(start, stop):
            for d in range(rank):
                whole[d] += share * traits[indices[q], d]
        for q in range(start, stop):
            z = right[indices[q]]
            guess = np.float32(0.0)
            for d in range(rank):
                guess += (p[d + 1] + whole[d]) * z[d + 1]
            error, steepness = _error(values[q], np.float32(mean + p[0] + z[0] + guess), link)
            total += float(error * error)
            error *= steepness
            p[0] += biased * rate * (error - bias_ridge * p[0])
            z[0] += biased * rate * (error - bias_ridge * z[0])
            for d in range(rank):
                old, item = p[d + 1], z[d + 1]
                p[d + 1] += rate * (error * item - ridge * old)
                z[d + 1] += rate * (error * (old + whole[d]) - ridge * item)
                slope[d] += error * item
        for q in range(start, stop):
            w = traits[indices[q]]
            for d in range(rank):
                # d prediction / d w_j = share * z for each rating of the user
                w[d] += rate * (slope[d] * share - ridge * w[d])
    return total
