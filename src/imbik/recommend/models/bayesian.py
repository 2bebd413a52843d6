"""Bayesian probabilistic matrix factorization by Gibbs sampling, with biases and predictive intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np

from imbik.errors import UserError
from imbik.recommend.cluster.place import Place
from imbik.recommend.data.ratings import Array, Compressed, Ratings
from imbik.recommend.data.scale import Invariance
from imbik.recommend.models import wishart
from imbik.recommend.models.factors import (
    NO_ROWS,
    TrainedFactors,
    as_side,
    initial_rows,
    seen_through,
    threads,
    with_bias_column,
    with_cold_row,
)
from imbik.recommend.models.model import Model, Report, register
from imbik.recommend.models.wishart import Chain


@runtime_checkable
class PredictsIntervals(Protocol):
    """A model that knows how sure it is."""

    def interval(self, users: Sequence[object], items: Sequence[object], level: float = 0.9, *, cold: bool = False) -> Array:
        """Return the bounds between which a new rating falls with probability ``level``, (pairs, 2)."""

    def interval_codes(self, users: Array, items: Array, level: float = 0.9) -> Array:
        """Return the same for pairs of codes."""


class Data(NamedTuple):
    """What the sampler reads: the matrix from both sides, the mean to subtract, the chunks of work."""

    by_user: Compressed
    by_item: Compressed
    mean: float
    borders: tuple[Array, Array]


@register
@dataclass
class BayesianPMF(TrainedFactors):
    """BPMF (Salakhutdinov & Mnih, ICML 2008) with biases as part of each row and the noise precision sampled too.

        r_ui ~ N(m + b_u + c_i + p_u . q_i, 1 / alpha)            alpha ~ Gamma(noise_shape, rate noise_rate)
        (b_u, p_u) ~ N(mu_U, Lambda_U^-1)      (c_i, q_i) ~ N(mu_V, Lambda_V^-1)
        mu | Lambda ~ N(0, (beta Lambda)^-1)   Lambda ~ Wishart(I / spread, D + freedom)

    with m the mean of the training ratings, D = rank + 1 (rank, without biases), and ratings in units of
    ``data/scale.py``. One sweep draws the hyperparameters, every user, every item and alpha from their exact
    conditionals, so there is nothing to tune but the length. ``samples`` states after ``burn_in`` are kept (every
    ``thin``-th); a prediction is the mean over them, an interval is a quantile of the mixture of normals that they form.
    Memory: samples x (users + items + 2) x (1 + rank) x 4 bytes.

    >>> ratings = Ratings.of("aabbcc", "xyxyxy", [5, 1, 4, 2, 5, 2])
    >>> model = BayesianPMF(rank=1, burn_in=5, samples=20).fit(ratings)
    >>> model.predict(["a"], ["x"]).shape, model.interval(["a"], ["x"]).shape
    ((1,), (1, 2))
    """

    name: ClassVar[str] = "bpmf"
    invariance: ClassVar[Invariance] = "interval"
    burn_in: int = 50
    samples: int = 200
    thin: int = 1
    beta: float = 2.0
    spread: float = 1.0
    freedom: float = 0.0
    noise_shape: float = 1.0
    noise_rate: float = 1.0

    def _fit(self, ratings: Ratings, start: Model | None, report: Report) -> None:
        data = prepare(ratings)
        with threads(self.threads):
            self._walk(ratings, start, report, lambda chain, rng: self.sweep(chain, data, rng), lambda chain: chain.users)

    def _fit_on(self, place: Place, ratings: Ratings, start: Model | None, report: Report) -> None:
        from imbik.recommend.cluster.gibbs import ShardedSampler
        from imbik.recommend.cluster.shards import sharded

        with sharded(place, ratings.by_user, ratings.shape[1], self.threads) as shards:
            mean, rated = float(ratings.values.mean(dtype=np.float64)), np.diff(ratings.by_user.indptr) > 0
            sampler = ShardedSampler(self, shards, mean, rated)
            self._walk(ratings, start, report, sampler.sweep, lambda chain: shards.users())

    def check_sharding(self) -> None:
        """Accept: given the items, every worker draws its users, and sends what they say of the items."""

    def _walk(
        self, ratings: Ratings, start: Model | None, report: Report, sweep: Callable[[Chain, np.random.Generator], tuple[Chain, float]],
        users_of: Callable[[Chain], Array],
    ) -> None:  # fmt: skip
        """Run the chain by ``sweep`` and keep its states; the rows of the users, which may be elsewhere, are given by ``users_of``."""
        if self.samples < 1 or self.thin < 1:
            raise UserError("no samples to keep", found=f"samples={self.samples}, thin={self.thin}", expected="both >= 1")
        rng = np.random.default_rng(self.seed)
        mean = float(ratings.values.mean(dtype=np.float64))
        dims = self.rank + self.biases
        sides = [initial_rows(self, ratings, side, dims, start, rng, 0.1) for side in ("users", "items")]
        # Any start will do: the first sweep draws both populations before it draws a row.
        normal = wishart.Normal(np.zeros(dims), np.eye(dims))
        chain = Chain(sides[0], sides[1], normal, normal, start.facts_.get("precision", 1.0) if start else 1.0)
        kept: list[tuple[Array, Array, float]] = []
        # The first states still remember the start; between two that are kept ``thin`` are drawn, since neighbors resemble.
        total = self.burn_in + self.samples * self.thin
        for done in range(total):
            chain, error = sweep(chain, rng)
            if done >= self.burn_in and (done - self.burn_in) % self.thin == self.thin - 1:
                kept.append((*self._frozen(chain._replace(users=users_of(chain)), rng), chain.precision))
            report(done + 1, total, float(np.sqrt(error / len(ratings))))
        self.arrays_ = {
            "users": np.stack([users for users, _, _ in kept]),  # (S, users + 1, 1 + rank)
            "items": np.stack([items for _, items, _ in kept]),
            "precision": np.array([precision for _, _, precision in kept], np.float64),
        }
        self.facts_ = {"mean": mean, "precision": float(chain.precision)}

    def sweep(self, chain: Chain, data: Data, rng: np.random.Generator) -> tuple[Chain, float]:
        """Draw the next state, in blocks; return it with its squared error on the ratings.

        Given the items, users are independent of one another, so that all of them are one block, drawn at once.
        """
        from imbik.recommend.kernels.gaussian import squared_error

        prior = self.hyper(chain.users.shape[1])
        keys = wishart.row_keys(rng)
        # Rows without ratings are left out of the population: they would only tell the prior what it told them.
        user_prior = wishart.draw(chain.users[np.diff(data.by_user.indptr) > 0], prior, rng)
        users = _draw_rows(data.by_user, data.borders[0], chain.items, user_prior, chain.precision, data, self, keys[0])
        item_prior = wishart.draw(chain.items[np.diff(data.by_item.indptr) > 0], prior, rng)
        items = _draw_rows(data.by_item, data.borders[1], users, item_prior, chain.precision, data, self, keys[1])
        design = seen_through(items, data.mean, self.biases)
        error = float(squared_error(data.borders[0], as_side(data.by_user), users, NO_ROWS, tuple(design)))
        return Chain(users, items, user_prior, item_prior, self.draw_precision(len(data.by_user.values), error, rng)), error

    def draw_precision(self, count: int, error: float, rng: np.random.Generator) -> float:
        """Draw alpha given the squared error of so many ratings."""
        # Gamma is conjugate to the precision of normal errors: half a count and half a square each.
        shape, rate = self.noise_shape + count / 2, self.noise_rate + error / 2
        return float(rng.gamma(shape, 1.0 / rate))

    def hyper(self, dims: int) -> wishart.Hyper:
        """Return the prior of both populations."""
        return wishart.Hyper(np.zeros(dims), self.beta, np.eye(dims) * self.spread, dims + self.freedom)

    def _frozen(self, chain: Chain, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return both sides as they are stored: bias first, and a draw from the population as the row of the cold."""
        sides = ((chain.users, chain.user_prior), (chain.items, chain.item_prior))
        left, right = (with_cold_row(with_bias_column(rows, self.biases), wishart.sample(prior, rng)) for rows, prior in sides)
        return left, right

    def samples_for(self, users: Array, items: Array) -> tuple[Array, Array]:
        """Return means (pairs, samples) and standard deviations of the noise (samples,) for pairs of codes."""
        from imbik.recommend.kernels.predict import sampled_means

        means = sampled_means(users, items, self.arrays_["users"], self.arrays_["items"])
        return means + np.float32(self.facts_["mean"]), 1.0 / np.sqrt(self.arrays_["precision"].astype(np.float64))

    def _pairs(self, users: Array, items: Array) -> Array:
        # (pairs, samples) of all pairs at once would not fit; a batch takes 20,000 x 200 x 4 bytes = 16 MB.
        out = [self.samples_for(users[b], items[b])[0].mean(axis=1) for b in _batches(len(users))]
        return np.concatenate(out) if out else np.zeros(0, np.float32)

    def interval(self, users: Sequence[object], items: Sequence[object], level: float = 0.9, *, cold: bool = False) -> Array:
        """Return the bounds between which a new rating falls with probability ``level``, (pairs, 2), not clipped, not rounded.

        Raises:
            UserError: an unknown id, unless ``cold``; a level outside (0, 1).
        """
        self._check_fitted()
        return self.interval_codes(self.codes("user", users, cold), self.codes("item", items, cold), level)

    def interval_codes(self, users: Array, items: Array, level: float = 0.9) -> Array:
        """Return :meth:`interval` for pairs of codes; -1 is cold."""
        from scipy.special import ndtri

        from imbik.recommend.kernels.predict import mixture_quantiles

        if not 0 < level < 1:
            raise UserError("impossible level of an interval", found=level, expected="between 0 and 1")
        out = np.empty((len(users), 2))
        for b in _batches(len(users)):
            means, sds = self.samples_for(users[b], items[b])
            for column, quantile in enumerate(((1 - level) / 2, (1 + level) / 2)):
                out[b, column] = mixture_quantiles(means, sds, quantile, float(ndtri(quantile)))
        return out

    def _remedy(self) -> str:
        return f"lower rank, which is {self.rank}, or raise spread, which is {self.spread:g}"

    def _check_learnt(self) -> None:
        super()._check_learnt()
        count = len(self.arrays_["users"])
        if self.arrays_["users"].ndim != 3 or len(self.arrays_["items"]) != count or self.arrays_["precision"].shape != (count,):
            raise ValueError("samples are missing")

    def scores(self, users: Array) -> Array:
        left, right = self.arrays_["users"][:, users], self.arrays_["items"][:, :-1]
        count = left.shape[0]
        # The mean over samples of p . q is one product of vectors of length samples x rank.
        flat_left = left[:, :, 1:].transpose(1, 0, 2).reshape(len(users), -1)
        flat_right = right[:, :, 1:].transpose(1, 0, 2).reshape(right.shape[1], -1)
        product: Array = flat_left @ flat_right.T / np.float32(count)
        product += left[:, :, 0].mean(0)[:, None] + right[:, :, 0].mean(0) + np.float32(self.facts_["mean"])
        return product


def prepare(ratings: Ratings) -> Data:
    """Return the ratings as the sampler reads them."""
    from imbik.recommend.kernels.gaussian import chunks

    by_user, by_item = ratings.by_user, ratings.by_item
    borders = chunks(by_user.indptr, 16), chunks(by_item.indptr, 16)
    return Data(by_user, by_item, float(ratings.values.mean(dtype=np.float64)), borders)


def _draw_rows(
    side: Compressed, borders: Array, other: Array, prior: wishart.Normal, alpha: float, data: Data,
    model: BayesianPMF, key: np.uint64,
) -> Array:  # fmt: skip
    """Draw every row of one side from N(A^-1 b, A^-1) given the other side."""
    from imbik.recommend.kernels.gaussian import gaussian_rows
    from imbik.recommend.kernels.normals import normal_rows

    out = np.empty((len(side.indptr) - 1, other.shape[1]), np.float32)
    noise = normal_rows(key, 0, *out.shape)
    design = seen_through(other, data.mean, model.biases)
    failed = gaussian_rows(borders, as_side(side), tuple(design), wishart.conditional(prior, alpha), noise, out, NO_ROWS)
    if failed:
        raise np.linalg.LinAlgError(f"{failed} rows whose equations have no one solution")
    return out


def _batches(count: int, size: int = 20_000) -> list[slice]:
    return [slice(i, i + size) for i in range(0, count, size)]
