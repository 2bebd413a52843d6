"""Compiled updates for implicit feedback: Newton steps of logistic PMF, conjugate gradients of weighted ALS."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from imbik.recommend.data.ratings import Array
from imbik.recommend.kernels.gaussian import BLOCK, FAST, solve, workspace
from imbik.recommend.kernels.parallel import parallel
from imbik.recommend.kernels.tile import cholesky, outer_products

Side = tuple[Array, Array, Array]
"""indptr, indices, weights or confidences of the events."""
Design = tuple[Array, Array]
"""design (m, padded), offset (m,): the other side."""
Sampling = tuple[Array, int, int, np.float32, int]
"""Pool of column codes to draw non-events from, draws for an event, draws for a row, weight of a draw, seed."""
Rates = tuple[np.float32, np.float32, np.float32]
"""Ridge of the factors, ridge of the bias, length of the step: 1 for Newton's."""
Work = tuple[Array, Array, Array, Array]
"""Gathered rows (BLOCK, padded), and for each its logit or chance, whether it happened, its weight (BLOCK,)."""


@njit(cache=True)  # type: ignore[untyped-decorator]
def _draw(counter: int, count: int) -> np.int64:
    """Draw one of 0..count - 1 by SplitMix64 of a counter (Steele et al. 2014): it depends on its place and not on the thread."""
    z = np.uint64(counter) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64(((z ^ (z >> np.uint64(31))) >> np.uint64(32)) * np.uint64(count) >> np.uint64(32))


@njit(cache=True, fastmath=FAST)  # type: ignore[untyped-decorator]
def _chances(logits: Array, count: int, powers: Array, bits: Array) -> None:
    """Replace logits[:count] by 1 / (1 + exp(-logit)), to 2e-7; free of branches, so that it fills the vector units.

    exp(-x) = 2^n 2^f with |f| <= 1/2: 2^f by its series, 2^n by writing n into the exponent of a float (``bits`` is
    ``powers`` seen as int32). The library's expf is a call for each number.
    """
    for q in range(count):
        power = np.float32(-1.4426950408889634) * min(max(logits[q], np.float32(-80.0)), np.float32(80.0))
        whole = np.int32(power + np.float32(128.5)) - np.int32(128)  # rounds: truncation of a number above 0 is a floor
        # A float32 is 2^(exponent - 127), its exponent in the bits from 23 on.
        bits[q] = (whole + np.int32(127)) << np.int32(23)
        # Horner's scheme for exp(f ln 2); the first term left out is 2e-7 of the result.
        f = (power - np.float32(whole)) * np.float32(0.6931471805599453)
        series = np.float32(1 / 120) + f * np.float32(1 / 720)
        for inverse in (np.float32(1 / 24), np.float32(1 / 6), np.float32(0.5), np.float32(1.0), np.float32(1.0)):
            series = inverse + f * series
        logits[q] = series
    for q in range(count):
        logits[q] = np.float32(1.0) / (np.float32(1.0) + powers[q] * logits[q])


@njit(cache=True, fastmath=FAST)  # type: ignore[untyped-decorator]
def _begin(row: Array, ridge: float, x: Array, matrix: Array, slopes: Array, border: Array) -> None:
    """Copy a row to x (padded), and set Hessian and slopes to what its prior says; events and draws are added to it."""
    matrix[:] = 0.0
    border[:] = 0.0
    for d in range(len(row)):
        x[d] = row[d]
        slopes[d] = -ridge * row[d]
        matrix[d, d] = ridge


@njit(cache=True, fastmath=FAST)  # type: ignore[untyped-decorator]
def _collect(row: int, first: int, count: int, side: Side, other: Design, sampling: Sampling, x: Array, own: float, work: Work) -> None:
    """Copy the rows of the events and drawn non-events first..first + count of ``row`` next to each other, with their logits."""
    indptr, indices, values = side
    design, offset = other
    pool, per_event, per_row, weight, seed = sampling
    block, logits, happened, weights = work
    start, events = indptr[row], indptr[row + 1] - indptr[row]
    # Each term of each row has a number of its own: rows may have events, draws for events, and at least one more.
    place = seed + (start + row) * (per_event + per_row + 1) + first
    for q in range(count):
        if first + q < events:
            column, happened[q], weights[q] = indices[start + first + q], np.float32(1.0), values[start + first + q]
        else:
            column, happened[q], weights[q] = pool[_draw(place + q, len(pool))], np.float32(0.0), weight
        z, copy = design[column], block[q]
        dot = np.float32(0.0)
        for d in range(len(z)):
            copy[d] = z[d]
            dot += x[d] * z[d]
        logits[q] = dot + offset[column] + own


@njit(cache=True, fastmath=FAST)  # type: ignore[untyped-decorator]
def _scale(count: int, work: Work, slopes: Array, border: Array) -> tuple[np.float32, np.float32]:
    """Scale the block by the roots of the curvatures w s (1 - s), so that its outer products sum to the Hessian.

    Adds w (y - s) z to the slopes and curvature z to the border; returns the sums of w (y - s) and of the curvatures.
    """
    block, chances, happened, weights = work
    one, slope_sum, curvature_sum = np.float32(1.0), np.float32(0.0), np.float32(0.0)
    for q in range(count):
        slope = weights[q] * (happened[q] - chances[q])
        curvature = weights[q] * chances[q] * (one - chances[q])
        root, row = np.sqrt(curvature), block[q]
        slope_sum += slope
        curvature_sum += curvature
        for d in range(len(row)):
            slopes[d] += slope * row[d]
            border[d] += curvature * row[d]
            row[d] *= root
    return slope_sum, curvature_sum


@njit(cache=True, fastmath=FAST)  # type: ignore[untyped-decorator]
def _newton(matrix: Array, slopes: Array, border: Array, slope: float, curvature: float, dims: int, biased: bool) -> float:
    """Solve [[curvature, border'], [border, A]] (bias, step) = (slope, slopes) from U'U = A by block elimination.

    The step of the factors replaces ``slopes``; the step of the bias is returned. The bias is a border of the system and
    not a column of the design, which would widen rank 32 to 48.
    """
    quiet = np.zeros(0, np.float32)
    solve(matrix, slopes, quiet, dims)
    if not biased:
        return 0.0
    across, along = np.float32(0.0), np.float32(0.0)
    given = border.copy()
    solve(matrix, given, quiet, dims)
    for d in range(dims):
        across += border[d] * slopes[d]
        along += border[d] * given[d]
    # The Schur complement: with A^-1 slopes and A^-1 border known, one equation is left for the bias.
    bias = (slope - across) / (curvature - along)
    for d in range(dims):
        slopes[d] -= bias * given[d]
    return float(bias)


@parallel()
def logistic_rows(
    borders: Array,
    side: Side,
    other: Design,
    sampling: Sampling,
    rates: Rates,
    rows: Array,
    biases: Array,
) -> int:
    """Move every row and its bias a Newton step on its logistic likelihood, in place; return the number of failed rows.

    Args:
        borders: runs of rows, see :func:`imbik.recommend.kernels.gaussian.chunks`.
        side: the rows and their events.
        other: the other side.
        sampling: how non-events are drawn.
        rates: ridges and length of the step.
        rows: factors, (n, rank).
        biases: (n,), or empty.
    """
    indptr, dims, width = side[0], rows.shape[1], other[0].shape[1]
    ridge, bias_ridge, step = rates
    failed = 0
    for chunk in prange(len(borders) - 1):
        block, matrix, slopes, _, _ = workspace(dims, width)  # float32 will do for a step that the next one corrects
        x, border = np.zeros(width, np.float32), np.zeros(width, np.float32)
        columns = np.zeros((4, BLOCK), np.float32)
        work, bits = (block, columns[0], columns[1], columns[2]), columns[3].view(np.int32)
        bad = 0
        for row in range(borders[chunk], borders[chunk + 1]):
            total = (indptr[row + 1] - indptr[row]) * (1 + sampling[1]) + sampling[2]  # events and draws
            own = biases[row] if len(biases) else np.float32(0.0)
            _begin(rows[row], ridge, x, matrix, slopes, border)
            slope, curvature = -bias_ridge * own, bias_ridge
            for first in range(0, total, BLOCK):
                count = min(BLOCK, total - first)
                _collect(row, first, count, side, other, sampling, x, own, work)
                _chances(columns[0], count, columns[3], bits)
                more = _scale(count, work, slopes, border)
                slope, curvature = slope + more[0], curvature + more[1]
                outer_products(block, count, matrix)
            if not cholesky(matrix, dims):
                bad += 1
                continue
            bias = _newton(matrix, slopes, border, slope, curvature, dims, len(biases) > 0)
            for d in range(dims):
                rows[row, d] += step * slopes[d]
            if len(biases):
                biases[row] += step * bias
        failed += bad
    return failed


@njit(cache=True, fastmath=FAST)  # type: ignore[untyped-decorator]
def _apply(x: Array, start: int, stop: int, side: Side, design: Array, gram: Array, out: Array) -> None:
    """Set out to (gram + sum (c_j - 1) z_j z_j') x without forming the matrix; gram includes the ridge."""
    _, indices, confidence = side
    dims = len(x)
    out[:] = 0.0
    for i in range(dims):
        value = x[i]
        for j in range(dims):
            out[j] += value * gram[i, j]
    for q in range(start, stop):
        z = design[indices[q]]
        dot = np.float32(0.0)
        for d in range(dims):
            dot += x[d] * z[d]
        dot *= confidence[q] - np.float32(1.0)  # the 1 of every cell is in gram
        for d in range(dims):
            out[d] += dot * z[d]


@parallel(fastmath=FAST)
def conjugate_rows(borders: Array, side: Side, design: Array, gram: Array, steps: int, rows: Array) -> None:
    """Take ``steps`` conjugate gradient steps for every row on (gram + sum (c - 1) z z') x = sum c z, from where it is."""
    indptr, indices, confidence = side
    dims = rows.shape[1]
    for chunk in prange(len(borders) - 1):
        rest, image, direction = np.zeros(dims, np.float32), np.zeros(dims, np.float32), np.zeros(dims, np.float32)
        for row in range(borders[chunk], borders[chunk + 1]):
            start, stop = indptr[row], indptr[row + 1]
            x = rows[row]
            if start == stop:
                x[:] = 0.0
                continue
            # The residual sum c z - A x of where the row is: a pass begins where the last one ended.
            _apply(x, start, stop, side, design, gram, image)
            rest[:] = -image
            for q in range(start, stop):
                z = design[indices[q]]
                for d in range(dims):
                    rest[d] += confidence[q] * z[d]
            direction[:] = rest
            size = np.dot(rest, rest)
            for _ in range(steps):
                if size < 1e-20:  # solved: what is left is rounding, and its quotient would be noise
                    break
                _apply(direction, start, stop, side, design, gram, image)
                rate = size / np.dot(direction, image)
                for d in range(dims):
                    x[d] += rate * direction[d]
                    rest[d] -= rate * image[d]
                new = np.dot(rest, rest)
                for d in range(dims):
                    direction[d] = rest[d] + new / size * direction[d]
                size = new
