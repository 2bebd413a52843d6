"""Arithmetic of quantized layers in plain NumPy, exact.

The affine scheme and fixed-point requantization of Jacob et al. (2018, arXiv 1712.05877), so that
one can see and test what an engine computes.

A real number r is stood for by an integer q: r = S (q - Z), with a scale S > 0 and a zero point Z
that is an integer of q's type, so that 0.0 is exact. A product of two quantized matrices is a sum
of integers in 32 bits times S_x S_w; bringing it to the next layer's scale S_y multiplies by M =
S_x S_w / S_y, which is done in integers as M0 · 2^-n.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[Any]

SMALL_TABLE = 4096
"""Embedding tables of fewer values stay in float: there is nothing to gain."""


def affine(low: float, high: float, bits: int = 8) -> tuple[np.float32, int]:
    """Return scale and zero point of unsigned integers that cover ``[low, high]``.

    The range is widened to hold 0 (Jacob et al. 2018, equation 1).

    S = (high - low) / (2^bits - 1), Z = round(-low / S).

    >>> scale, zero = affine(-1.0, 3.0)
    >>> round(float(scale), 5), zero
    (0.01569, 64)
    """
    top = 2**bits - 1
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    # A tensor of zeros has no range: any scale above 0 gives q = Z for it.
    scale = np.float32((high - low) / top) if high > low else np.float32(1.0)
    # A range of denormal numbers would underflow to a scale of 0, by which nothing can be divided.
    scale = max(scale, np.float32(1e-30))
    return scale, int(np.clip(np.rint(-low / float(scale)), 0, top))


def quantize(values: NDArray[Any], scale: float | NDArray[Any], zero: int = 0, bits: int = 8) -> NDArray[np.uint8]:
    """Compute q = clip(round(r / S) + Z, 0, 2^bits - 1), ties to even, as ONNX does."""
    # Divided in float32, as the engine does: in float64 some halves round the other way.
    integers = np.rint(np.asarray(values, dtype=np.float32) / np.float32(scale)) + zero
    clipped: NDArray[np.uint8] = np.clip(integers, 0, 2**bits - 1).astype(np.uint8)
    return clipped


def dequantize(integers: Integers, scale: float | NDArray[Any], zero: int = 0) -> NDArray[np.float32]:
    """Compute r = S (q - Z).

    >>> dequantize(np.array([64, 255], dtype=np.uint8), 0.5, 64).tolist()
    [0.0, 95.5]
    """
    # int32, since q - Z of unsigned bytes can be negative.
    return ((integers.astype(np.int32) - zero) * np.asarray(scale, dtype=np.float32)).astype(np.float32)


def symmetric(values: NDArray[Any], axis: int | None, bits: int = 8, clip: float = 1.0) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Quantize weights to signed integers with zero point 0; return them and their scales.

    q = clip(round(w / s)), s = clip · max|w| / (2^(bits-1) - 1).

    Args:
        values: weights.
        axis: one scale per index of this axis; None: one for all (per tensor).
        bits: width; the range is symmetric, so -2^(bits-1) is not used.
        clip: share of max|w| that is covered; beyond it weights saturate.

    Returns:
        ``(q, scale)`` with ``values ≈ q * scale``; ``scale`` keeps its dimensions for broadcasting.

    >>> q, scale = symmetric(np.array([[1.0, -4.0], [0.5, 2.0]], dtype=np.float32), axis=1)
    >>> q.tolist(), scale.shape
    ([[127, -127], [64, 64]], (1, 2))
    """
    top = 2 ** (bits - 1) - 1
    others = tuple(index for index in range(values.ndim) if index != axis)
    scale = np.abs(values).max(axis=others, keepdims=True).astype(np.float32) * np.float32(clip) / np.float32(top)
    # A channel of zeros: q = 0 with any scale.
    scale = np.where(scale > 0, scale, np.float32(1.0)).astype(np.float32)
    return np.clip(np.rint(values / scale), -top, top).astype(np.int8), scale


def accumulate(x: Integers, w: Integers, zero: int = 0) -> NDArray[np.int32]:
    """Sum the products of a quantized layer in 32 bits: Σ_k (x_ik - Z_x) w_kj.

    Jacob et al. 2018, equation 7 with Z_w = 0.

    Args:
        x: ``(…, K)`` unsigned 8 bits.
        w: ``(K, N)`` signed 8 bits.
        zero: Z_x.

    >>> accumulate(np.array([[3, 1]], dtype=np.uint8), np.array([[2], [-1]], dtype=np.int8), zero=1).tolist()
    [[4]]
    """
    # (…, K) x (K, N) -> (…, N); K up to 2^16 cannot overflow: |q_x - Z| |q_w| < 2^15.
    sums: NDArray[np.int32] = np.matmul(x.astype(np.int32) - np.int32(zero), w.astype(np.int32))
    return sums


def fixed_point(multiplier: NDArray[Any] | float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Write M as M0 · 2^-n with an integer M0 in [2^30, 2^31): 31 significant bits.

    Jacob et al. 2018, equation 6.

    Raises:
        ValueError: a multiplier that is not above 0 and below 2^30, or so small that nothing is
            left of a product.

    >>> m0, n = fixed_point(0.75)
    >>> int(m0) / 2 ** int(n)
    0.75
    """
    real = np.asarray(multiplier, dtype=np.float64)
    if not np.all((real >= 2.0**-23) & (real < 2.0**30)):
        raise ValueError(f"a multiplier between 2^-23 and 2^30 is needed, not {multiplier}")
    mantissa, exponent = np.frexp(real)
    m0 = np.rint(mantissa * 2.0**31).astype(np.int64)
    carried = m0 == 2**31  # a mantissa that rounds up to 1
    m0 = np.where(carried, 2**30, m0)
    exponent = np.where(carried, exponent + 1, exponent)
    return m0, (31 - exponent).astype(np.int64)


def requantize(
    accumulator: NDArray[np.int32], m0: NDArray[np.int64], n: NDArray[np.int64], zero: int = 0, bits: int = 8
) -> NDArray[np.uint8]:
    """Compute clip(round(acc · M0 · 2^-n) + Z) in integers alone, ties upwards.

    A 64-bit product, half a unit added, shifted right.

    Args:
        accumulator: ``(…, N)`` sums, bias included.
        m0, n: from :func:`fixed_point`, one for all or one per column.
        zero: Z of the output.

    >>> m0, n = fixed_point(0.25)
    >>> requantize(np.array([10, -10, 4000], dtype=np.int32), m0, n, zero=3).tolist()
    [6, 1, 255]
    """
    product = accumulator.astype(np.int64) * m0
    # >> rounds down, for negative numbers too, so adding half a unit first rounds to nearest.
    rounded = (product + (np.int64(1) << (n - 1))) >> n
    clipped: NDArray[np.uint8] = np.clip(rounded + zero, 0, 2**bits - 1).astype(np.uint8)
    return clipped
