"""Calibration of logits, alone and together with what earlier stages said: one weight for each, fitted on dev by likelihood.

Alone it is temperature scaling (Guo et al. 2017; the weight is 1 / T). Together it is a logarithmic opinion pool (Heskes 1998):
p ∝ Π p_k^w_k. What is maximized is concave, so Newton's method finds the one best place.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST = 20.0
"""Largest weight: a model without an error on dev would be taken for certain of everything."""

_LEAST = 0.05
"""Smallest weight of a model that stands alone."""

_STEPS = 50


def surprise(parts: Sequence[NDArray[np.floating]] | Floats, weights: Sequence[float] | Floats, targets: NDArray[np.int64]) -> float:
    """Compute the mean negative log likelihood of targets ``(N,)`` under softmax(Σ w_k z_k) of logits ``(N, L)`` each.

    >>> round(surprise([np.zeros((2, 4))], [1.0], np.array([0, 3])), 4)  # ln 4
    1.3863
    """
    mixed = sum(weight * part.astype(np.float64) for weight, part in zip(weights, parts, strict=True))
    logs = _log_softmax(np.asarray(mixed))
    return float(-logs[np.arange(len(logs)), targets].mean())


def fitted(parts: Sequence[NDArray[np.floating]], targets: NDArray[np.int64]) -> tuple[float, ...]:
    """Return the weights at which :func:`surprise` is least: none below 0 or above 20, the last part's at least 0.05.

    Args:
        parts: logits ``(N, L)`` of texts that the models have not learned from.
        targets: ``(N,)`` label indices.
    """
    stacked = np.stack([part.astype(np.float64) for part in parts])  # (K, N, L)
    low = np.zeros(len(parts))
    low[-1] = _LEAST
    weights = np.maximum(low, 1.0 / len(parts))
    best = surprise(stacked, weights, targets)
    for _ in range(_STEPS):
        gradient, curvature = _derivatives(stacked, weights, targets)
        # a weight on its bound that would go on beyond it stays there
        free = ~(((weights <= low) & (gradient > 0)) | ((weights >= MOST) & (gradient < 0)))
        if not free.any() or np.abs(gradient[free]).max() < 1e-9:
            break
        step = np.zeros(len(parts))
        step[free] = np.linalg.solve(curvature[np.ix_(free, free)] + 1e-9 * np.eye(int(free.sum())), gradient[free])
        for _ in range(30):
            trial = np.clip(weights - step, low, MOST)
            found = surprise(stacked, trial, targets)
            if found <= best:
                break
            step *= 0.5
        if best - found < 1e-13:
            break
        weights, best = trial, found
    return tuple(float(weight) for weight in weights)


def _derivatives(stacked: Floats, weights: Floats, targets: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return gradient ``(K,)`` and curvature ``(K, K)`` of the surprise: E_p[z_k] - z_k of the target, and the covariance under p."""
    shares = np.exp(_log_softmax(np.einsum("k,knl->nl", weights, stacked)))  # (N, L)
    means = np.einsum("nl,knl->kn", shares, stacked)
    count = len(targets)
    gradient = (means - stacked[:, np.arange(count), targets]).mean(axis=1)
    centered = stacked - means[:, :, None]
    return gradient, np.einsum("nl,knl,jnl->kj", shares, centered, centered) / count


def _log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
