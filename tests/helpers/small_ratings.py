"""Small ratings and events with a known structure."""

from __future__ import annotations

import numpy as np

from imbik.recommend.data.ratings import Ratings


def low_rank(users: int = 60, items: int = 40, rank: int = 2, share: float = 0.5, noise: float = 0.2, seed: int = 0) -> Ratings:
    """Ratings 3 + b_u + c_i + p.q + noise, on a random share of the cells, clipped to 1..5."""
    rng = np.random.default_rng(seed)
    bias = 0.4 * rng.standard_normal((users, 1)), 0.4 * rng.standard_normal((1, items))
    full = 3.0 + bias[0] + bias[1] + (0.8 * rng.standard_normal((users, rank))) @ rng.standard_normal((rank, items))
    u, i = np.nonzero(rng.random((users, items)) < share)
    values = np.clip(full[u, i] + noise * rng.standard_normal(len(u)), 1, 5)
    order = rng.permutation(len(u))
    return Ratings.of([f"u{x}" for x in u[order]], [f"i{x}" for x in i[order]], values[order])


def two_groups(users: int = 40, items: int = 30, seed: int = 0) -> Ratings:
    """Events: even users take even items, odd users odd ones, each 60 % of them."""
    rng = np.random.default_rng(seed)
    u, i = np.nonzero((np.arange(users)[:, None] % 2 == np.arange(items) % 2) & (rng.random((users, items)) < 0.6))
    return Ratings.of([f"u{x}" for x in u], [f"i{x}" for x in i])
