"""Normal numbers that depend on their place alone: any worker can draw the rows that it holds, and no others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from imbik.recommend.data.ratings import Array
from imbik.recommend.kernels.parallel import parallel

_LAYERS = 256
_TAIL = 3.6541528853610088  # where the last of 256 layers of equal area begins (Marsaglia & Tsang 2000)
_AREA = 0.00492867323399


def _layers() -> tuple[Array, Array]:
    """Return the right ends of the layers below exp(-x^2 / 2), and the heights there; both (257,)."""
    ends = np.zeros(_LAYERS + 1)
    ends[0], ends[1] = _AREA * np.exp(0.5 * _TAIL**2), _TAIL  # the first stands for the tail as well
    for k in range(1, _LAYERS - 1):
        ends[k + 1] = np.sqrt(-2.0 * np.log(_AREA / ends[k] + np.exp(-0.5 * ends[k] ** 2)))
    return ends, np.exp(-0.5 * ends**2)


_ENDS, _HEIGHTS = _layers()
_STEP = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _mixed(state: np.uint64) -> np.uint64:
    """Return the output of SplitMix64 (Steele et al. 2014) in a state."""
    z = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _uniform(bits: np.uint64) -> Any:
    """Return a number above 0 and at most 1 out of the highest 53 bits."""
    return (float(bits >> np.uint64(11)) + 1.0) * 1.1102230246251565e-16


@njit(cache=True)  # type: ignore[untyped-decorator]
def _normal(state: np.uint64) -> Any:
    """Draw a standard normal number by the ziggurat; ``state`` begins a sequence of its own."""
    while True:
        bits = _mixed(state)
        layer = int(bits & np.uint64(255))
        sign = 1.0 if bits & np.uint64(256) else -1.0
        x = _uniform(bits) * _ENDS[layer]
        if x < _ENDS[layer + 1]:  # 99 of 100 lie below the next layer too
            return sign * x
        state = _mixed(state + _STEP)  # apart from the states of the neighbors, which are steps away
        if layer == 0:
            first, second = 0.0, 0.0
            while 2.0 * second <= first * first:  # the tail behind its beginning, by two exponentials (Marsaglia 1964)
                first, second = -np.log(_uniform(_mixed(state))) / _TAIL, -np.log(_uniform(_mixed(state + _STEP)))
                state = _mixed(state + _STEP + _STEP)
            return sign * (_TAIL + first)
        height = _HEIGHTS[layer] + _uniform(_mixed(state)) * (_HEIGHTS[layer + 1] - _HEIGHTS[layer])
        if height < np.exp(-0.5 * x * x):
            return sign * x
        state = _mixed(state + _STEP)


@parallel()
def normal_rows(key: np.uint64, first: int, count: int, dims: int) -> Array:
    """Return standard normal rows first..first + count of the table that ``key`` names, (count, dims) float32.

    Cell (row, d) is drawn from a SplitMix64 sequence that begins at a hash of key + row dims + d: it depends on neither the thread
    nor on which other rows are drawn.

    >>> bool((normal_rows(np.uint64(7), 0, 9, 2)[4:] == normal_rows(np.uint64(7), 4, 5, 2)).all())
    True
    """
    out = np.empty((count, dims), np.float32)
    # no generator, no state: every cell begins a sequence of its own
    for row in prange(count):
        for d in range(dims):
            place = np.uint64((first + row) * dims + d)
            out[row, d] = _normal(_mixed(np.uint64(key) + place * _STEP))
    return out
