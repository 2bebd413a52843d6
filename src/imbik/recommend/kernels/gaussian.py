"""The compiled engine: one row of a factor matrix given the other side, for all rows at once, on all cores.

PMF, Bayesian PMF, NMF and weighted ALS share one inner problem. For a row with observed columns j,

    A = P + scale * sum_j w_j z_j z_j',      b = h + scale * sum_j t_j z_j,      t_j = w_j (value_j - offset_j)

with ``z_j`` the row of the other side (with variances V_j of it, A gains scale * sum_j w_j diag(V_j)). They differ in what they
do with (A, b): solve, sample, or solve under x >= 0. ``z`` is float32 and padded to a multiple of 16; outer products are summed
in float32 over blocks of 256 ratings, the blocks and everything after them in float64. Rows are independent and their noise
comes in as an argument, so results do not depend on the number of threads. numba was chosen over batched torch by
measurement: docs/results/recommend.md.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from imbik.recommend.data.ratings import Array
from imbik.recommend.kernels.parallel import parallel, sum_in_order
from imbik.recommend.kernels.tile import cholesky, outer_products

FAST = {"reassoc", "contract", "nsz", "arcp"}  # everything but "no NaN": a broken input must stay visible
BLOCK = 256  # ratings whose outer products are summed in float32: 256 terms cost about 4 of its 24 bits
CHUNKS = 32  # runs of rows, more than there are threads, so that one slow run does not keep the others waiting

Side = tuple[Array, Array, Array, Array]
"""indptr, indices, values, weights or an empty array: the rows to be solved."""
Design = tuple[Array, ...]
"""design (m, padded), offset (m,), variances (m, D) or an empty array: the other side."""
Prior = tuple[Array, Array, float, bool]
"""P (D, D), h (D,), scale, whether P and h are multiplied by the number of ratings of the row."""
Work = tuple[Array, Array, Array, Array, Array]
"""Scratch of one thread; see :func:`workspace`."""


def chunks(indptr: Array, width: int) -> Array:
    """Return the borders of runs of rows that cost about the same, so that no thread waits for the popular rows.

    They do not depend on the number of threads, and so neither does the order of the sums.
    """
    cost = np.diff(indptr) + width / 3.0 + 4.0  # outer products, and the solving of one system as measured beside them
    total = np.concatenate([[0.0], np.cumsum(cost)])
    borders = np.searchsorted(total, np.linspace(0, total[-1], CHUNKS + 1))
    return np.unique(np.concatenate([[0], borders, [len(indptr) - 1]])).astype(np.int64)


def padded(rows: Array) -> Array:
    """Return a float32 copy of (n, D) whose row length is the next multiple of 16, zeros behind."""
    count, dims = rows.shape
    out = np.zeros((count, -(-dims // 16) * 16), np.float32)
    out[:, :dims] = rows
    return out


@njit(cache=True)  # type: ignore[untyped-decorator]
def workspace(dims: int, width: int) -> Work:
    """Return the scratch of one thread: gathered rows, A and b of a block in float32, and in float64; sizes fit the tiles."""
    height = -(-dims // 8) * 8  # the tile is 8 rows high
    block, part, part_vector = (np.zeros((BLOCK, width), np.float32), np.zeros((height, width), np.float32), np.zeros(width, np.float32))
    return block, part, part_vector, np.zeros((height, width)), np.zeros(width)


@njit(cache=True, fastmath=FAST)  # type: ignore[untyped-decorator]
def flush(work: Work, count: int) -> None:
    """Add the outer products of the block's first ``count`` rows, and its vector, to A and b; clear the float32 parts."""
    block, part, part_vector, matrix, vector = work
    outer_products(block, count, part)
    for i in range(part.shape[0]):
        for j in range(part.shape[1]):
            matrix[i, j] += part[i, j]
            part[i, j] = 0.0
    for j in range(len(vector)):
        vector[j] += part_vector[j]
        part_vector[j] = 0.0


@njit(cache=True, fastmath=FAST)  # type: ignore[untyped-decorator]
def gather(side: Side, start: int, stop: int, other: Design, block: Array, matrix: Array, vector: Array) -> None:
    """Copy the rows of the other side next to each other, scaled by sqrt(weight); vector += sum of t_j z_j."""
    _, indices, values, weights = side
    design, offset, spread = other
    for q in range(start, stop):
        column = indices[q]
        weight = weights[q] if len(weights) else np.float32(1.0)
        target = weight * (values[q] - offset[column])
        root = np.sqrt(weight)  # so that the outer product of the copy carries the weight itself
        row, copy = design[column], block[q - start]
        for d in range(design.shape[1]):
            copy[d] = root * row[d]
            vector[d] += target * row[d]
        if len(spread):
            for d in range(spread.shape[1]):
                matrix[d, d] += weight * spread[column, d]


@njit(cache=True, fastmath=FAST)  # type: ignore[untyped-decorator]
def _normal_equations(row: int, side: Side, other: Design, prior: Prior, work: Work) -> None:
    """Fill work's A (upper triangle) and b for one row."""
    start, stop = side[0][row], side[0][row + 1]
    sum_ratings(start, stop, side, other, work)
    add_prior(stop - start, prior, work)


@njit(cache=True, fastmath=FAST)  # type: ignore[untyped-decorator]
def sum_ratings(start: int, stop: int, side: Side, other: Design, work: Work) -> None:
    """Set work's matrix to the sum of w z z' (upper triangle) and its vector to that of t z, over ratings start..stop."""
    block, _, part_vector, matrix, vector = work
    matrix[:] = 0.0
    vector[:] = 0.0
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        gather(side, first, last, other, block, matrix, part_vector)
        flush(work, last - first)


@njit(cache=True, fastmath=FAST)  # type: ignore[untyped-decorator]
def add_prior(count: int, prior: Prior, work: Work) -> None:
    """Turn the sums over the ``count`` ratings of a row into A and b."""
    precision, shift, scale, by_count = prior
    matrix, vector = work[3], work[4]
    dims, width = precision.shape[0], matrix.shape[1]
    ridge = max(count, 1) if by_count else 1.0  # a row without ratings keeps its prior
    for i in range(dims):
        vector[i] = scale * vector[i] + ridge * shift[i]
        for j in range(width):
            matrix[i, j] *= scale
        for j in range(dims):
            matrix[i, j] += ridge * precision[i, j]


@njit(cache=True, fastmath=FAST)  # type: ignore[untyped-decorator]
def solve(matrix: Array, vector: Array, noise: Array, dims: int) -> None:
    """Set vector to A^-1 b + U^-1 noise: the mean of N(A^-1 b, A^-1), or a draw when noise is standard normal.

    U'U = A, so U^-1 noise has covariance U^-1 U^-T = A^-1: the draw costs one addition in the backward pass.
    """
    for k in range(dims):  # forward: U'y = b
        vector[k] /= matrix[k, k]
        value = vector[k]
        for j in range(k + 1, dims):
            vector[j] -= value * matrix[k, j]
    for k in range(dims - 1, -1, -1):  # backward: U x = y + noise
        rest = vector[k]
        if len(noise):
            rest += noise[k]
        for j in range(k + 1, dims):
            rest -= matrix[k, j] * vector[j]
        vector[k] = rest / matrix[k, k]


@njit(cache=True, fastmath=FAST)  # type: ignore[untyped-decorator]
def inverse_diagonal(matrix: Array, dims: int, column: Array, out: Array) -> None:
    """Set out to diag(A^-1) from U: the squared rows of U^-1, one of its columns at a time."""
    out[:] = 0.0
    for k in range(dims):
        for i in range(k, -1, -1):
            rest = 1.0 if i == k else 0.0
            for j in range(i + 1, k + 1):
                rest -= matrix[i, j] * column[j]
            column[i] = rest / matrix[i, i]
            out[i] += column[i] * column[i]


@parallel()
def gaussian_rows(borders: Array, side: Side, other: Design, prior: Prior, noise: Array, out: Array, variances: Array) -> int:
    """Solve or sample every row of one side; return the number of rows that could not be solved.

    Args:
        borders: runs of rows, see :func:`chunks`.
        side: the rows.
        other: the other side.
        prior: what is known of a row before its ratings.
        noise: standard normal (n, D) to sample, (0, 0) to solve.
        out: receives the rows, (n, D) float32.
        variances: receives diag(A^-1), (n, D), unless it has no rows.
    """
    dims, width = prior[0].shape[0], other[0].shape[1]
    failed = 0
    for chunk in prange(len(borders) - 1):
        work = workspace(dims, width)
        matrix, vector = work[3], work[4]
        column, diagonal = np.zeros(dims), np.zeros(dims)
        quiet = np.zeros(0, np.float32)
        bad = 0
        for row in range(borders[chunk], borders[chunk + 1]):
            _normal_equations(row, side, other, prior, work)
            if not cholesky(matrix, dims):
                bad += 1
                continue
            solve(matrix, vector, noise[row] if len(noise) else quiet, dims)
            for d in range(dims):
                out[row, d] = vector[d]
            if len(variances):
                inverse_diagonal(matrix, dims, column, diagonal)
                for d in range(dims):
                    variances[row, d] = diagonal[d]
        failed += bad
    return failed


@njit(cache=True, fastmath=FAST)  # type: ignore[untyped-decorator]
def _descend(matrix: Array, vector: Array, dims: int, steps: int, x: Array) -> None:
    """Descend x'Ax/2 - b'x subject to x >= 0, one coordinate after the other, from x; A is its upper triangle."""
    for _ in range(steps):
        for d in range(dims):
            slope = -vector[d]
            for j in range(d):
                slope += matrix[j, d] * x[j]
            for j in range(d, dims):
                slope += matrix[d, j] * x[j]
            x[d] = max(0.0, x[d] - slope / matrix[d, d])  # the exact minimum along d


@parallel()
def nonnegative_rows(borders: Array, side: Side, other: Design, prior: Prior, steps: int, out: Array) -> None:
    """Improve every row of ``out`` (n, D) under x >= 0 by ``steps`` passes of coordinate descent."""
    dims, width = prior[0].shape[0], other[0].shape[1]
    for chunk in prange(len(borders) - 1):
        work, x = workspace(dims, width), np.zeros(dims)
        matrix, vector = work[3], work[4]
        for row in range(borders[chunk], borders[chunk + 1]):
            _normal_equations(row, side, other, prior, work)
            for d in range(dims):
                x[d] = out[row, d]
            _descend(matrix, vector, dims, steps, x)
            for d in range(dims):
                out[row, d] = x[d]


@parallel(fastmath=FAST)
def squared_error(borders: Array, side: Side, rows: Array, variances: Array, other: Design) -> float:
    """Return the sum over all ratings of (value - offset - x . z)^2, or of its expectation when both sides have variances.

    For independent x and z, E (t - x . z)^2 = (t - E x . E z)^2 + sum_d (x_d^2 V_z + V_x (z_d^2 + V_z)).
    """
    indptr, indices, values, _ = side
    design, offset, spread = other
    partial = np.zeros(len(borders) - 1)
    for chunk in prange(len(borders) - 1):
        total = 0.0
        for row in range(borders[chunk], borders[chunk + 1]):
            x = rows[row]
            for q in range(indptr[row], indptr[row + 1]):
                z = design[indices[q]]
                dot = np.float32(0.0)
                for d in range(len(x)):
                    dot += x[d] * z[d]
                error = values[q] - offset[indices[q]] - dot
                total += error * error
                if len(spread):
                    v = spread[indices[q]]
                    for d in range(len(x)):
                        total += x[d] * x[d] * v[d] + variances[row, d] * (z[d] * z[d] + v[d])
        partial[chunk] = total
    return float(sum_in_order(partial))
