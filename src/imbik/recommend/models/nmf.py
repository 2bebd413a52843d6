"""Non-negative matrix factorization of the observed cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from imbik.errors import UserError
from imbik.recommend.data.ratings import Array, Ratings
from imbik.recommend.data.scale import Invariance
from imbik.recommend.models.factors import NO_ROWS, TrainedFactors, as_side, initial_rows, seen_through, threads
from imbik.recommend.models.model import Model, Report, register


@register
@dataclass
class NMF(TrainedFactors):
    """Masked NMF: every rating is a sum of non-negative parts, and only observed cells count.

        minimize  sum (r_ui - b_u - c_i - p_u . q_i)^2 + ridge (sum |p_u - p|^2 + sum |q_i - q|^2) + bias_ridge (...),
        all of b, c, p, q >= 0

    p, q (and the mean biases) are the means of their side, re-estimated each epoch, so rows with few ratings shrink to
    the average row rather than to zero. Biases are two more parts, one pinned to 1 on the other side; without them this
    is r = P Q' alone. Alternating non-negative least squares: each row's normal equations from the observed cells, then
    ``steps`` passes of coordinate descent (Lee & Seung 1999 for the model; Kim & Park 2008 for alternating NNLS).

    Parts add up from zero, so the zero of the scale means something here: ratings plus ten give another model.

    >>> model = NMF(rank=1, epochs=5).fit(Ratings.of("aabbcc", "xyxyxy", [5, 1, 4, 2, 5, 2]))
    >>> all((side >= 0).all() for side in model.arrays_.values())
    True
    """

    name: ClassVar[str] = "nmf"
    invariance: ClassVar[Invariance] = "ratio"
    ridge: float = 15.0
    bias_ridge: float = 4.0
    epochs: int = 30
    steps: int = 4

    def _check(self, ratings: Ratings) -> None:
        super()._check(ratings)
        if (ratings.values < 0).any():
            row = int(np.flatnonzero(ratings.values < 0)[0])
            raise UserError(
                "NMF needs ratings that are not negative",
                where=f"user {ratings.user_ids[ratings.users[row]]}, item {ratings.item_ids[ratings.items[row]]}",
                found=f"{ratings.values[row]:g}",
                expected=">= 0",
                fix="shift the scale, or use pmf or bpmf",
            )

    def _fit(self, ratings: Ratings, start: Model | None, report: Report) -> None:
        from imbik.recommend.kernels.gaussian import chunks, nonnegative_rows, squared_error

        rng = np.random.default_rng(self.seed)
        sides = ratings.by_user, ratings.by_item
        borders = [chunks(side.indptr, 16) for side in sides]
        rated = [np.diff(side.indptr) > 0 for side in sides]
        rows = [self._initial(ratings, side, start, rng) for side in ("users", "items")]
        ridge = np.full(rows[0].shape[1], self.ridge)
        if self.biases:
            ridge[0] = self.bias_ridge
        with threads(self.threads):
            for epoch in range(self.epochs):
                for k in (0, 1):
                    # Centering would make ratings negative, so the mean stays in the parts.
                    other = seen_through(rows[1 - k], 0.0, self.biases)
                    prior = (np.diag(ridge), ridge * rows[k][rated[k]].mean(axis=0), 1.0, False)
                    nonnegative_rows(borders[k], as_side(sides[k]), tuple(other), prior, self.steps, rows[k])
                other = seen_through(rows[1], 0.0, self.biases)
                error = float(squared_error(borders[0], as_side(sides[0]), rows[0], NO_ROWS, tuple(other)))
                report(epoch + 1, self.epochs, float(np.sqrt(error / len(ratings))))
        averages = [side[known].mean(axis=0) for side, known in zip(rows, rated, strict=True)]
        self._keep(users=rows[0], items=rows[1], mean=0.0, biases=self.biases, cold=(averages[0], averages[1]))

    def _initial(self, ratings: Ratings, side: str, start: Model | None, rng: np.random.Generator) -> Array:
        """Return parts that add up to about the mean rating, with biases taking most of it."""
        mean = float(ratings.values.mean(dtype=np.float64))
        rest = 0.2 * mean if self.biases else mean  # 0.4 + 0.4 of it are the two biases
        dims = self.rank + self.biases
        rows = np.abs(initial_rows(self, ratings, side, dims, start, rng, 1.0))
        if start is None:
            # The product of two sides has ``rank`` terms; |N(0, 1)| differs from row to row, or all parts would stay alike.
            rows = (np.sqrt(rest / self.rank) * (0.5 + 0.5 * rows)).astype(np.float32)
            if self.biases:
                rows[:, 0] = 0.4 * mean
        return rows
