"""Bayesian PMF over workers: they draw the users, here the items, both populations and the noise are drawn."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from imbik.recommend.cluster.shards import Shards
from imbik.recommend.cluster.worker import Given
from imbik.recommend.data.ratings import Array
from imbik.recommend.models import wishart
from imbik.recommend.models.factors import NO_ROWS


class Sampled(Protocol):
    """What the sampler reads from the model."""

    biases: bool

    def hyper(self, dims: int) -> wishart.Hyper:
        """Return the prior of both populations."""

    def draw_precision(self, count: int, error: float, rng: np.random.Generator) -> float:
        """Draw the precision of the noise."""


class ShardedSampler:
    """The sweep of Bayesian PMF with its users on workers.

    It draws the same numbers from the same conditionals as the sweep of one machine, in the same order: the hyperparameters from
    ``rng``, the rows of both sides from keys of the sweep. What differs is the order in which float64 sums over users are added.

    Args:
        model: the settings.
        shards: the users.
        mean: of the ratings.
        rated: which users have ratings, (users,).
    """

    def __init__(self, model: Sampled, shards: Shards, mean: float, rated: Array) -> None:
        self._model, self._shards, self._mean, self._rated = model, shards, mean, rated
        self._population: wishart.Moments | None = None

    def sweep(self, chain: wishart.Chain, rng: np.random.Generator) -> tuple[wishart.Chain, float]:
        """Draw the next state; return it, without the users, with its squared error on the ratings."""
        model, shards = self._model, self._shards
        prior = model.hyper(chain.items.shape[1])
        keys = wishart.row_keys(rng)
        # Before the first sweep the users are still where they were made.
        population = chain.users[self._rated] if self._population is None else self._population
        user_prior = wishart.draw(population, prior, rng)
        conditional = wishart.conditional(user_prior, chain.precision)
        # the first of two rounds: items and population out, sums over users back
        statistics, after = shards.draw(Given(chain.items, NO_ROWS, self._mean, model.biases, conditional, keys[0]))
        self._population = after.moments
        item_prior = wishart.draw(chain.items[shards.counts > 0], prior, rng)
        items = shards.items(statistics, wishart.conditional(item_prior, chain.precision), keys[1])
        # the second: from the sums alone the error would be a difference of large numbers
        error = shards.squared_error(items)
        precision = model.draw_precision(shards.ratings, error, rng)
        return wishart.Chain(NO_ROWS, items, user_prior, item_prior, precision), error
