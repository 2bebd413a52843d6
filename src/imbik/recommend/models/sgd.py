"""Fitting factors by stochastic gradient descent: PMF, its constrained variant, and biased SVD share this loop."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from imbik.recommend.data.ratings import Array, Compressed, Ratings
from imbik.recommend.models.factors import initial_rows, with_bias_column
from imbik.recommend.models.model import Model, Report


class Settings(Protocol):
    """What the loop reads from the model."""

    rank: int
    biases: bool
    ridge: float
    bias_ridge: float
    epochs: int
    learning_rate: float
    seed: int


def descend(
    model: Settings, ratings: Ratings, start: Model | None, report: Report, constrained: bool = False
) -> tuple[Array, Array, float]:
    """Both sides (n, 1 + rank) and the mean, after `epochs` passes; the learning rate falls as 1 / (1 + 2 epoch / epochs) to a third.

    A ridge acts once per rating in SGD, so it is divided by the mean number of ratings of a user.
    """
    from imbik.recommend.kernels.sgd import BLOCKS, constrained_epoch, sgd_epoch, stratify

    rng = np.random.default_rng(model.seed)
    mean = float(ratings.values.mean(dtype=np.float64))
    dims = model.rank + model.biases
    first, second = (
        with_bias_column(initial_rows(model, ratings, side, dims, start, rng, 0.1), model.biases) for side in ("users", "items")
    )
    traits = np.zeros((len(ratings.item_ids), model.rank), np.float32)
    *triples, borders = stratify(ratings, rng)
    per_user = len(ratings) / len(ratings.user_ids)
    ridges = np.float32(model.bias_ridge / per_user), np.float32(model.ridge / per_user)
    for epoch in range(model.epochs):
        rate = np.float32(model.learning_rate / (1 + 2 * epoch / model.epochs))
        rates = (rate, *ridges, np.float32(mean), np.float32(model.biases))
        if constrained:
            order = rng.permutation(len(ratings.user_ids))
            error = constrained_epoch(order, tuple(ratings.by_user), (first, second), traits, rates)
        else:
            error = sgd_epoch(tuple(triples), borders, rng.permutation(BLOCKS), (first, second), rates)
        report(epoch + 1, model.epochs, float(np.sqrt(error / len(ratings))))
    if constrained:
        first[:, 1:] += _mean_traits(ratings.by_user, traits)
    return first, second, mean


def _mean_traits(side: Compressed, traits: Array) -> Array:
    """(users, rank): the mean of the traits of the items that each user rated, zeros for users without ratings."""
    from scipy.sparse import csr_matrix

    counts = np.diff(side.indptr)
    ones = np.repeat(1.0 / np.maximum(counts, 1), counts).astype(np.float32)
    matrix = csr_matrix((ones, side.indices, side.indptr), shape=(len(counts), len(traits)))
    return np.asarray(matrix @ traits, np.float32)
