"""Weighted alternating least squares for events: the usual rival of logistic PMF."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from imbik.errors import UserError
from imbik.recommend.cluster.place import Place
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
        confidence = [self._confidence(side.values) for side in sides]
        borders = [chunks(side.indptr, 16) for side in sides]
        rows = [initial_rows(self, ratings, side, self.rank, start, rng, 0.1) for side in ("users", "items")]
        with threads(self.threads):
            for epoch in range(self.epochs):
                for k in (0, 1):
                    data = (sides[k].indptr, sides[k].indices, confidence[k])
                    rows[k] = self._solve(borders[k], data, rows[1 - k], rows[k])
                report(epoch + 1, self.epochs, self._missing(ratings, rows, rng))
        self._keep(rows[0], rows[1], 0.0, False)

    def check_sharding(self) -> None:
        """Refuse conjugate gradients.

        Raises:
            UserError: the rows are improved from where they are, and a worker that dies takes them along.
        """
        if self.conjugate_steps:
            raise UserError(
                "conjugate gradients go on from rows that die with their worker", where="--ray",
                found=f"conjugate_steps={self.conjugate_steps}", expected="0: rows are solved exactly",
                fix="give --set conjugate_steps=0, or leave out --ray",
            )  # fmt: skip

    def _fit_on(self, place: Place, ratings: Ratings, start: Model | None, report: Report) -> None:
        from imbik.recommend.cluster.shards import sharded
        from imbik.recommend.cluster.worker import Given

        rng = np.random.default_rng(self.seed)
        _, items = (initial_rows(self, ratings, side, self.rank, start, rng, 0.1) for side in ("users", "items"))
        targets, weights = _as_weighted(self._confidence(ratings.by_user.values))
        side = ratings.by_user._replace(values=targets)
        gram = items.T @ items  # (rank, rank)
        with sharded(place, side, ratings.shape[1], self.threads, weights) as shards:
            for epoch in range(self.epochs):
                statistics, users = shards.draw(Given(items, NO_ROWS, 0.0, False, self._of_gram(gram)))
                count, mean, scatter = users.moments
                items = shards.items(statistics, self._of_gram(scatter + count * np.outer(mean, mean)), None)
                gram = items.T @ items
                report(epoch + 1, self.epochs, float(np.sqrt(shards.squared_error(items) / len(ratings))))
            self._keep(shards.users(), items, 0.0, False)

    def _confidence(self, counts: Array) -> Array:
        """Return c for events of these counts, (N,) float32."""
        return (1.0 + self.alpha * relative_counts(counts)).astype(np.float32)

    def _of_gram(self, gram: Array) -> tuple[Array, Array, float, bool]:
        """Return the kernels' prior: every cell counts with confidence 1 through Q'Q, (rank, rank)."""
        return (gram + self.ridge * np.eye(self.rank, dtype=np.float32)).astype(np.float64), np.zeros(self.rank), 1.0, False

    def _solve(self, borders: Array, side: tuple[Array, Array, Array], other: Array, rows: Array) -> Array:
        from imbik.recommend.kernels.gaussian import gaussian_rows, padded
        from imbik.recommend.kernels.implicit import conjugate_rows

        gram = other.T @ other  # (rank, rank)
        if self.conjugate_steps:
            gram = gram + self.ridge * np.eye(self.rank, dtype=np.float32)
            conjugate_rows(borders, side, other, gram, self.conjugate_steps, rows)
            return rows
        indptr, indices, confidence = side
        data = (indptr, indices, *_as_weighted(confidence))
        design = (padded(other), np.zeros(len(other), np.float32), NO_ROWS)
        failed = gaussian_rows(borders, data, design, self._of_gram(gram), NO_ROWS, rows, NO_ROWS)
        if failed:
            self._diverged(f"{failed} rows whose equations have no one solution")
        return rows

    def _missing(self, ratings: Ratings, rows: list[Array], rng: np.random.Generator, size: int = 20_000) -> float:
        """Return the root mean square of 1 - p . q over a sample of events, for the progress line."""
        pick = rng.integers(0, len(ratings), min(size, len(ratings)))
        guess = np.einsum("nd,nd->n", rows[0][ratings.users[pick]], rows[1][ratings.items[pick]])
        return float(np.sqrt(np.mean((1.0 - guess) ** 2)))


def _as_weighted(confidence: Array) -> tuple[Array, Array]:
    """Return targets and weights of the events on top of Q'Q: w = c - 1 and w * target = c, hence target = c / w."""
    # Where alpha is 0 every cell has confidence 1 and w vanishes: a weight that float32 cannot see stands in for it.
    weights = np.maximum(confidence - np.float32(1.0), np.float32(1e-6))
    return confidence / weights, weights
