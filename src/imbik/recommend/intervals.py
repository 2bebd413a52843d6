"""Quantiles of the mixture of normals that posterior samples form."""

from __future__ import annotations

import numpy as np

from imbik.recommend.ratings import Array


def mixture_quantile(means: Array, sds: Array, q: float, steps: int = 30) -> Array:
    """x with (1/S) sum_s Phi((x - means[n, s]) / sds[s]) = q for every row n; Newton inside a bracket that only shrinks.

    >>> float(np.round(mixture_quantile(np.zeros((1, 4)), np.ones(4), 0.95)[0], 4))
    1.6449
    """
    from scipy.special import ndtr, ndtri

    means = means.astype(np.float64)
    reach = 12.0 * sds.max()
    low, high = means.min(axis=1) - reach, means.max(axis=1) + reach
    x = means.mean(axis=1) + ndtri(q) * np.sqrt(means.var(axis=1) + np.mean(sds**2))
    for _ in range(steps):
        z = (x[:, None] - means) / sds
        gap = ndtr(z).mean(axis=1) - q
        high, low = np.where(gap > 0, x, high), np.where(gap > 0, low, x)
        slope = (np.exp(-0.5 * z * z) / sds).mean(axis=1) / np.sqrt(2 * np.pi)
        step = x - gap / np.maximum(slope, 1e-12)
        new = np.where((step > low) & (step < high), step, 0.5 * (low + high))
        if np.max(np.abs(new - x), initial=0.0) < 1e-9:
            return np.asarray(new)
        x = new
    return np.asarray(x)
