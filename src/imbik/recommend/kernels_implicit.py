"""Compiled updates for implicit feedback: Newton steps of logistic PMF, conjugate gradients of weighted ALS."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from imbik.recommend.kernels import BLOCK, FAST, solve, workspace
from imbik.recommend.kernels_tile import cholesky, outer_products
from imbik.recommend.ratings import Array


@njit(cache=True)  # type: ignore[untyped-decorator]
def _draw(counter: int, count: int) -> Any:
    """One of 0..count - 1 by SplitMix64 of a counter: a draw depends on its place and not on the thread."""
    z = np.uint64(counter) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64(((z ^ (z >> np.uint64(31))) >> np.uint64(32)) * np.uint64(count) >> np.uint64(32))


@njit(cache=True, fastmath=FAST)  # type: ignore[untyped-decorator]
def _event(x: Array, z: Array, offset: float, happened: float, weight: float, copy: Array, vector: Array) -> None:
    """One term of the Newton system at x (padded like z): curvature w s (1 - s) z z', target w (y - s) + curvature x.z."""
    dot = np.float32(0.0)
    for d in range(len(z)):
        dot += x[d] * z[d]
    one = np.float32(1.0)
    chance = one / (one + np.exp(-(dot + offset)))
    curvature = weight * chance * (one - chance)
    target = weight * (happened - chance) + curvature * dot
    root = np.sqrt(curvature)
    for d in range(len(z)):
        copy[d] = root * z[d]
        vector[d] += target * z[d]


@njit(cache=True, parallel=True)  # type: ignore[untyped-decorator]
def logistic_rows(borders: Array, side: Any, other: Any, sampling: Any, ridge: Array, step: float, rows: Array) -> int:
    """Move every row (n, D) a Newton step of length `step` on its logistic likelihood; updates `rows` in place.

    side = (indptr, indices, weights of the events); other = (design, offset); sampling = (pool of column codes to draw
    the non-events from, draws per event, draws per row, weight of a draw, seed). Returns the number of failed rows.
    """
    indptr, indices, values = side
    design, offset = other
    pool, per_event, per_row, weight, seed = sampling
    dims, width = rows.shape[1], design.shape[1]
    failed = 0
    for chunk in prange(len(borders) - 1):
        block, matrix, vector, _, _ = workspace(dims, width)  # float32 will do for a step that the next one corrects
        quiet, x = np.zeros(0, np.float32), np.zeros(width, np.float32)
        bad = 0
        for row in range(borders[chunk], borders[chunk + 1]):
            start, events = indptr[row], indptr[row + 1] - indptr[row]
            total = events + events * per_event + per_row
            matrix[:] = 0.0
            vector[:] = 0.0
            x[:dims] = rows[row]
            for first in range(0, total, BLOCK):
                count = min(BLOCK, total - first)
                for q in range(count):
                    if first + q < events:
                        column = indices[start + first + q]
                        _event(x, design[column], offset[column], np.float32(1.0), values[start + first + q], block[q], vector)
                        continue
                    column = pool[_draw(seed + (start + row) * (per_event + per_row + 1) + first + q, len(pool))]
                    _event(x, design[column], offset[column], np.float32(0.0), weight, block[q], vector)
                outer_products(block, count, matrix)
            for d in range(dims):
                matrix[d, d] += ridge[d]
            if not cholesky(matrix, dims):
                bad += 1
                continue
            solve(matrix, vector, quiet, dims)
            for d in range(dims):
                rows[row, d] += step * (vector[d] - x[d])
        failed += bad
    return failed


@njit(cache=True, fastmath=FAST)  # type: ignore[untyped-decorator]
def _apply(x: Array, start: int, stop: int, side: Any, design: Array, gram: Array, out: Array) -> None:
    """out = (gram + sum (c_j - 1) z_j z_j') x without forming the matrix; gram includes the ridge."""
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
        dot *= confidence[q] - np.float32(1.0)
        for d in range(dims):
            out[d] += dot * z[d]


@njit(cache=True, parallel=True, fastmath=FAST)  # type: ignore[untyped-decorator]
def conjugate_rows(borders: Array, side: Any, design: Array, gram: Array, steps: int, rows: Array) -> None:
    """`steps` conjugate gradient steps for every row on (gram + sum (c - 1) z z') x = sum c z, from where it is."""
    indptr, indices, confidence = side
    dims = rows.shape[1]
    for chunk in prange(len(borders) - 1):
        rest, image, way = np.zeros(dims, np.float32), np.zeros(dims, np.float32), np.zeros(dims, np.float32)
        for row in range(borders[chunk], borders[chunk + 1]):
            start, stop = indptr[row], indptr[row + 1]
            x = rows[row]
            if start == stop:
                x[:] = 0.0
                continue
            _apply(x, start, stop, side, design, gram, image)
            rest[:] = -image
            for q in range(start, stop):
                z = design[indices[q]]
                for d in range(dims):
                    rest[d] += confidence[q] * z[d]
            way[:] = rest
            size = np.dot(rest, rest)
            for _ in range(steps):
                if size < 1e-20:
                    break
                _apply(way, start, stop, side, design, gram, image)
                rate = size / np.dot(way, image)
                for d in range(dims):
                    x[d] += rate * way[d]
                    rest[d] -= rate * image[d]
                new = np.dot(rest, rest)
                for d in range(dims):
                    way[d] = rest[d] + new / size * way[d]
                size = new
