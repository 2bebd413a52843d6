"""Does the Gibbs sampler draw from the right distribution? Geweke's joint test, recovery, and calibration on simulated data."""

from __future__ import annotations

import numpy as np
import pytest

from imbik.recommend.cluster.gibbs import ShardedSampler
from imbik.recommend.cluster.place import HERE, Place
from imbik.recommend.cluster.shards import sharded
from imbik.recommend.data.ratings import Array, Compressed, Ratings
from imbik.recommend.data.splits import random_split
from imbik.recommend.kernels.gaussian import chunks
from imbik.recommend.models import wishart
from imbik.recommend.models.bayesian import BayesianPMF, Chain, Data
from imbik.recommend.models.factors import threads

USERS, ITEMS, RANK = 4, 3, 1


class TooSure(BayesianPMF):
    """A sampler with a deliberate mistake: the noise precision counts a quarter more ratings than there are."""

    def sweep(self, chain: Chain, data: Data, rng: np.random.Generator) -> tuple[Chain, float]:
        chain, error = super().sweep(chain, data, rng)
        shape = self.noise_shape + 1.25 * len(data.by_user.values) / 2
        return chain._replace(precision=rng.gamma(shape, 1.0 / (self.noise_rate + error / 2))), error


class Sharded(BayesianPMF):
    """The sampler with its users on three workers of this process, made anew for the new ratings of each sweep."""

    def sweep(self, chain: Chain, data: Data, rng: np.random.Generator) -> tuple[Chain, float]:
        with sharded(Place(HERE, 3), data.by_user, ITEMS, 1) as shards:
            chain, error = ShardedSampler(self, shards, data.mean, np.ones(USERS, bool)).sweep(chain, rng)
            return chain._replace(users=shards.users()), error


class ShardedTooSure(Sharded):
    """A mistake that only a division can make: what the users say of the items counts twice."""

    def sweep(self, chain: Chain, data: Data, rng: np.random.Generator) -> tuple[Chain, float]:
        with sharded(Place(HERE, 1), data.by_user, ITEMS, 1) as shards:
            draw = shards.draw
            shards.draw = lambda given: (lambda sums, population: (2 * sums, population))(*draw(given))  # type: ignore[method-assign]
            chain, error = ShardedSampler(self, shards, data.mean, np.ones(USERS, bool)).sweep(chain, rng)
            return chain._replace(users=shards.users()), error


def model(kind: type[BayesianPMF] = BayesianPMF, biases: bool = True) -> BayesianPMF:
    return kind(rank=RANK, biases=biases, freedom=8.0, spread=3.0, noise_shape=6.0, noise_rate=6.0, threads=1)


def from_the_prior(sampler: BayesianPMF, rng: np.random.Generator) -> Chain:
    hyper = sampler.hyper(RANK + sampler.biases)
    nothing = np.zeros((0, RANK + sampler.biases))
    priors = [wishart.draw(nothing, hyper, rng) for _ in range(2)]
    rows = [np.stack([wishart.sample(p, rng) for _ in range(n)]).astype(np.float32) for p, n in zip(priors, (USERS, ITEMS), strict=True)]
    return Chain(rows[0], rows[1], priors[0], priors[1], rng.gamma(sampler.noise_shape, 1.0 / sampler.noise_rate))


def expected_ratings(chain: Chain, biases: bool) -> Array:
    x, z = chain.users.astype(np.float64), chain.items.astype(np.float64)
    if not biases:
        return np.asarray(x @ z.T)
    return np.asarray(x[:, :1] + z[:, 0] + x[:, 1:] @ z[:, 1:].T)


def ratings_given(chain: Chain, biases: bool, rng: np.random.Generator) -> Data:
    """A full matrix drawn from the likelihood, as the sampler reads it, with the mean fixed at 0."""
    full = expected_ratings(chain, biases) + rng.standard_normal((USERS, ITEMS)) / np.sqrt(chain.precision)
    by_user, by_item = (
        Compressed(np.arange(0, m.size + 1, m.shape[1]), np.tile(np.arange(m.shape[1], dtype=np.int32), m.shape[0]),
                   m.ravel().astype(np.float32)) for m in (full, full.T)
    )  # fmt: skip
    return Data(by_user, by_item, 0.0, (chunks(by_user.indptr, 8), chunks(by_item.indptr, 8)))


def statistics(chain: Chain, data: Data) -> list[float]:
    x, z, r = chain.users, chain.items, data.by_user.values
    return [
        chain.precision, chain.precision**2, float(np.linalg.slogdet(chain.user_prior.precision)[1]),
        float(np.linalg.slogdet(chain.item_prior.precision)[1]), *chain.user_prior.mean**2, *chain.item_prior.mean**2,
        *(x**2).mean(0), *(z**2).mean(0), float(x[0, 0] * x[1, 0]), float((x[:, -1].mean() * z[:, -1].mean()) ** 2),
        float(np.abs(r).mean()), float((r.mean()) ** 2),
    ]  # fmt: skip


def geweke(sampler: BayesianPMF, length: int, seed: int) -> Array:
    """z-scores of the statistics between prior draws and the chain sweep, ratings, sweep, ... (Geweke, JASA 2004)."""
    with threads(1):
        return _geweke(sampler, length, np.random.default_rng(seed))


def _geweke(sampler: BayesianPMF, length: int, rng: np.random.Generator) -> Array:
    forward = []
    for _ in range(length):
        chain = from_the_prior(sampler, rng)
        forward.append(statistics(chain, ratings_given(chain, sampler.biases, rng)))
    chain = from_the_prior(sampler, rng)
    successive = []
    for _ in range(2 * length):
        data = ratings_given(chain, sampler.biases, rng)
        chain, _ = sampler.sweep(chain, data, rng)
        successive.append(statistics(chain, ratings_given(chain, sampler.biases, rng)))
    a, b = np.array(forward), np.array(successive)
    batches = b[: len(b) // 40 * 40].reshape(40, -1, b.shape[1]).mean(axis=1)
    error = np.sqrt(a.var(axis=0) / len(a) + batches.var(axis=0, ddof=1) / 40)
    return np.asarray((a.mean(axis=0) - b.mean(axis=0)) / error)


@pytest.mark.parametrize("biases", [True, False])
def test_prior_and_chain_agree_on_the_joint_distribution(biases: bool) -> None:
    z = geweke(model(biases=biases), 1500, 1)
    assert np.abs(z).max() < 4.0, z


def test_prior_and_chain_agree_where_users_are_on_workers() -> None:
    z = geweke(model(Sharded), 300, 1)
    assert np.abs(z).max() < 4.0, z


@pytest.mark.parametrize(("kind", "length"), [(TooSure, 1500), (ShardedTooSure, 300)])
def test_the_joint_test_notices_a_wrong_sampler(kind: type[BayesianPMF], length: int) -> None:
    assert np.abs(geweke(model(kind), length, 1)).max() > 6.0


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "length"), [(BayesianPMF, 40_000), (Sharded, 3_000)])
@pytest.mark.parametrize("biases", [True, False])
def test_prior_and_chain_agree_at_length(biases: bool, kind: type[BayesianPMF], length: int) -> None:
    z = geweke(model(kind, biases), length, 2)
    assert np.abs(z).max() < 4.0, z


def simulated(seed: int, users: int = 120, items: int = 80, noise: float = 0.7) -> tuple[Ratings, Array]:
    """Ratings of the model itself on 30 % of the cells, and their expectation."""
    rng = np.random.default_rng(seed)
    full = 2.0 + 0.5 * rng.standard_normal((users, 1)) + 0.5 * rng.standard_normal((1, items))
    full = full + rng.standard_normal((users, 2)) @ (0.7 * rng.standard_normal((2, items)))
    u, i = np.nonzero(rng.random((users, items)) < 0.3)
    return Ratings.of(u, i, full[u, i] + noise * rng.standard_normal(len(u))), full[u, i]


def test_the_posterior_recovers_what_made_the_data() -> None:
    ratings, truth = simulated(3)
    sampler = BayesianPMF(rank=2, burn_in=100, samples=300).fit(ratings)
    means, noise = sampler.samples_for(*sampler.align(ratings))
    low, high = np.quantile(means, [0.05, 0.95], axis=1)
    assert abs(np.mean((truth >= low) & (truth <= high)) - 0.9) < 0.04  # credible intervals of the expectation
    assert np.quantile(noise, 0.005) < 0.7 < np.quantile(noise, 0.995)
    assert np.sqrt(np.mean((means.mean(axis=1) - truth) ** 2)) < 0.36  # of noise 0.7


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_predictive_intervals_cover_new_ratings(level: float) -> None:
    found = []
    for seed in range(4):
        train, test = random_split(simulated(seed)[0], 0.2, seed)
        sampler = BayesianPMF(rank=2, burn_in=50, samples=100).fit(train)
        bounds = sampler.interval_codes(*sampler.align(test), level)
        found.append(np.mean((test.values >= bounds[:, 0]) & (test.values <= bounds[:, 1])))
    assert abs(np.mean(found) - level) < 0.03


def test_intervals_of_strangers_are_wider() -> None:
    ratings, _ = simulated(5)
    sampler = BayesianPMF(rank=2, burn_in=50, samples=200).fit(ratings)
    known, strange = sampler.interval(["5", "nobody"], ["5", "5"], cold=True)
    assert strange[1] - strange[0] > 1.2 * (known[1] - known[0])


def test_wishart_draws_have_the_right_mean() -> None:
    rng = np.random.default_rng(0)
    scale = np.array([[2.0, 0.5], [0.5, 1.0]])
    prior = wishart.Hyper(np.zeros(2), 2.0, np.linalg.inv(scale), 7.0)
    draws = np.mean([wishart.draw(np.zeros((0, 2)), prior, rng).precision for _ in range(8000)], axis=0)
    np.testing.assert_allclose(draws, 7 * scale, rtol=0.04)
    rows = rng.standard_normal((50, 2))
    after = wishart.posterior(rows, prior)
    assert after.beta == 52 and after.freedom == 57
    np.testing.assert_allclose(after.mean, 50 / 52 * rows.mean(0))
    centerd = rows - rows.mean(0)
    gap = 2 * 50 / 52 * np.outer(rows.mean(0), rows.mean(0))
    np.testing.assert_allclose(after.inverse_scale, np.linalg.inv(scale) + centerd.T @ centerd + gap)
