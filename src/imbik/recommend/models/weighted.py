"""Weighted alternating least squares for events: the usual rival of logistic PMF."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from imbik.recommend.data.ratings import Array, Ratings
from imbik.recommend.data.scale import relative_counts
from imbik.recommend.models.factors import NO_ROWS, FactorModel, initial_rows, threads
from imbik.recommend.models.model import Model, Report, register


@register
@dataclass
class WeightedALS(FactorModel):
    """Implicit ALS (Hu, Koren & Volinsky 2008): every cell counts, events with more confidence.

        minimize  sum_ui c_ui (y_ui - p_u . q_i)^2 + ridge (|P|^2 + |Q|^2),    c = 1 + alpha count / median, y = 1 for events
                                                                           c = 1, y = 0 for all other cells

    The median count makes ``alpha`` a number without a unit. Q'Q is shared by all users, so a pass costs as much as the
    events. ``conjugate_steps`` > 0 solves each row by that many steps of conjugate gradients (Takacs et al. 2011), 0
    exactly by Cholesky.

    >>> WeightedALS(rank=1, epochs=3).fit(Ratings.of("aabbc", "xyxyz")).recommend("a", 1)[0][0]
    'z'
    """

    name: ClassVar[str] = "als"
    continues: ClassVar[bool] = True
    feedback: ClassVar[str] = "implicit"
    rank: int = 32
    alpha: float = 10.0
    ridge: float = 5.0
    epochs: int = 15
    conjugate_steps: int = 3
    seed: int = 0
    threads: int = 0
    biases: ClassVar[bool] = False

    def _fit(self, ratings: Ratings, start: Model | None, report: Report) -> None:
        from imbik.recommend.kernels.gaussian import chunks

        rng = np.random.default_rng(self.seed)
        sides = ratings.by_user, ratings.by_item
        confidence = [(1.0 + self.alpha * relative_counts(side.values)).astype(np.float32) for side in sides]
        borders = [chunks(side.indptr, 16) for side in sides]
        rows = [initial_rows(self, ratings, side, self.rank, start, rng, 0.1) for side in ("users", "items")]
        with threads(self.threads):
            for epoch in range(self.epochs):
                for k in (0, 1):
                    data = (sides[k].indptr, sides[k].indices, confidence[k])
                    rows[k] = self._solve(borders[k], data, rows[1 - k], rows[k])
                report(epoch + 1, self.epochs, self._missing(ratings, rows, rng))
        self._keep(rows[0], rows[1], 0.0, False)

    def _solve(self, borders: Array, side: tuple[Array, Array, Array], other: Array, rows: Array) -> Array:
        from imbik.recommend.kernels.gaussian import gaussian_rows, padded
        from imbik.recommend.kernels.implicit import conjugate_rows

        # Every cell counts with confidence 1 through Q'Q, the events with c - 1 on top.
        gram = other.T @ other + self.ridge * np.eye(self.rank, dtype=np.float32)  # (rank, rank)
        if self.conjugate_steps:
            conjugate_rows(borders, side, other, gram, self.conjugate_steps, rows)
            return rows
        # As a weighted problem: w = c - 1 and w * target = c, hence target = c / w. Where alpha is 0 every cell has
        # confidence 1 and w vanishes: a weight that float32 cannot see stands in for it.
        indptr, indices, confidence = side
        weights = np.maximum(confidence - np.float32(1.0), np.float32(1e-6))
        data = (indptr, indices, confidence / weights, weights)
        design = (padded(other), np.zeros(len(other), np.float32), NO_ROWS)
        prior = (gram.astype(np.float64), np.zeros(self.rank), 1.0, False)
        failed = gaussian_rows(borders, data, design, prior, NO_ROWS, rows, NO_ROWS)
        if failed:
            self._diverged(f"{failed} rows whose equations have no one solution")
        return rows

    def _missing(self, ratings: Ratings, rows: list[Array], rng: np.random.Generator, size: int = 20_000) -> float:
        """Return the root mean square of 1 - p . q over a sample of events, for the progress line."""
        pick = rng.integers(0, len(ratings), min(size, len(ratings)))
        guess = np.einsum("nd,nd->n", rows[0][ratings.users[pick]], rows[1][ratings.items[pick]])
        return float(np.sqrt(np.mean((1.0 - guess) ** 2)))
