"""Logistic probabilistic matrix factorization for events: who takes what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from imbik.recommend.data.ratings import Array, Ratings
from imbik.recommend.data.scale import relative_counts
from imbik.recommend.models.factors import NO_WEIGHTS, TrainedFactors, initial_rows, threads
from imbik.recommend.models.model import Model, Report, register

if TYPE_CHECKING:
    from imbik.recommend.kernels.implicit import Sampling


@register
@dataclass
class LogisticPMF(TrainedFactors):
    """Logistic PMF (Johnson 2014): the chance that user u takes item i, from events only.

        P(event) = sigmoid(b_u + c_i + p_u . q_i)
        maximize  sum_events w_ui log P  +  sum_non-events log(1 - P)  -  ridge/2 (|P|^2 + |Q|^2) - bias_ridge/2 (|b|^2 + |c|^2)

    with w = 1 + alpha log(count / median), at least 1. The non-events are sampled anew in each pass, ``negatives`` for an
    event, uniformly over the items; the item side draws users in proportion to their events, so that both sides climb the
    same function. Where Johnson takes AdaGrad steps, each row takes one damped Newton step (its Hessian is rank x rank
    and costs little beside the gradient), which needs a third of the passes. ``predict`` gives P among sampled
    non-events, a number to rank by rather than the share of all users.

    >>> model = LogisticPMF(rank=1, epochs=3).fit(Ratings.of("aabbc", "xyxyz"))
    >>> bool(0.0 < model.predict(["a"], ["z"])[0] < 1.0)
    True
    """

    name: ClassVar[str] = "logistic"
    feedback: ClassVar[str] = "implicit"
    rank: int = 32
    alpha: float = 1.0
    ridge: float = 4.0
    bias_ridge: float = 3.0
    negatives: int = 10
    epochs: int = 10

    def _fit(self, ratings: Ratings, start: Model | None, report: Report) -> None:
        from imbik.recommend.kernels.gaussian import chunks

        rng = np.random.default_rng(self.seed)
        sides = ratings.by_user, ratings.by_item
        dims = self.rank + self.biases
        rows = [initial_rows(self, ratings, side, dims, start, rng, 0.1) for side in ("users", "items")]
        weights = [self.event_weights(side.values) for side in sides]
        borders = [chunks(side.indptr, 16) for side in sides]
        # Users draw items evenly, and so an item must meet users as often as they draw: in proportion to their events.
        pools = np.arange(ratings.shape[1], dtype=np.int32), ratings.users.astype(np.int32)
        per_item = max(1, round(self.negatives * len(ratings) / ratings.shape[1]))
        draws = (self.negatives, 0), (0, per_item)
        with threads(self.threads):
            for epoch in range(self.epochs):
                # A full Newton step chases the non-events of its own draw; half steps average over the draws.
                step = 1.0 if epoch < self.epochs // 2 else 0.5
                for k in (0, 1):
                    sampling = (pools[k], *draws[k], np.float32(1.0), int(rng.integers(2**62)))
                    data = (sides[k].indptr, sides[k].indices, weights[k])
                    self._step(borders[k], data, rows[1 - k], sampling, step, rows[k])
                report(epoch + 1, self.epochs, self._loss(ratings, rows, rng))
        self._keep(rows[0], rows[1], 0.0, self.biases)

    def event_weights(self, counts: Array) -> Array:
        """Return w for events of these counts, (N,) float32."""
        return (1.0 + self.alpha * np.log(np.maximum(relative_counts(counts), 1.0))).astype(np.float32)

    def _step(
        self, borders: Array, side: tuple[Array, Array, Array], other: Array, sampling: Sampling, step: float, rows: Array
    ) -> None:  # fmt: skip
        """Take one Newton step for every row of one side, in place."""
        from imbik.recommend.kernels.gaussian import padded
        from imbik.recommend.kernels.implicit import logistic_rows

        first = int(self.biases)
        factors = np.ascontiguousarray(rows[:, first:])
        biases = rows[:, 0].copy() if first else NO_WEIGHTS
        offset = other[:, 0].copy() if first else np.zeros(len(other), np.float32)
        rates = np.float32(self.ridge), np.float32(self.bias_ridge), np.float32(step)
        # The bias of the other side is known here: an offset of the logit.
        design = (padded(other[:, first:]), offset)
        failed = logistic_rows(borders, side, design, sampling, rates, factors, biases)
        if failed:
            self._diverged(f"{failed} rows whose equations have no one solution")
        rows[:, first:] = factors
        if first:
            rows[:, 0] = biases

    def _loss(self, ratings: Ratings, rows: list[Array], rng: np.random.Generator, size: int = 20_000) -> float:
        """Return the mean cross-entropy of a sample of events and as many random cells, for the progress line."""
        pick = rng.integers(0, len(ratings), size)
        users, items = ratings.users[pick], ratings.items[pick]
        other = rng.integers(0, ratings.shape[1], size)
        event, none = (self._logits(rows, users, i) for i in (items, other))
        return float(np.mean(np.logaddexp(0, -event)) + np.mean(np.logaddexp(0, none))) / 2

    def _logits(self, rows: list[Array], users: Array, items: Array) -> Array:
        left, right = rows[0][users], rows[1][items]
        if not self.biases:
            return np.asarray(np.einsum("nd,nd->n", left, right))
        return np.asarray(left[:, 0] + right[:, 0] + np.einsum("nd,nd->n", left[:, 1:], right[:, 1:]))

    def _pairs(self, users: Array, items: Array) -> Array:
        chance: Array = 1.0 / (1.0 + np.exp(-super()._pairs(users, items)))
        return chance
