"""Fitting factors by stochastic gradient descent: PMF, its constrained variant, and biased SVD share this loop."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from imbik.recommend.data.ratings import Array, Compressed, Ratings
from imbik.recommend.models.factors import initial_rows, with_bias_column
from imbik.recommend.models.model import Model, Report


class DescentSettings(Protocol):
    """What the loop reads from the model."""

    rank: int
    biases: bool
    ridge: float
    bias_ridge: float
    epochs: int
    learning_rate: float
    seed: int


def descend(
    model: DescentSettings, ratings: Ratings, start: Model | None, report: Report, constrained: bool = False, logistic: bool = False
) -> tuple[Array, Array, float]:
    """Return both sides (n, 1 + rank) and the mean, after ``epochs`` passes.

    The learning rate falls as 1 / (1 + 2 epoch / epochs), to a third. A ridge acts once for each rating in SGD, so it is
    divided by the mean number of ratings of a user. ``logistic``: predictions are low + (high - low) g(x), with the lowest and the highest
    rating; the constant is then that of x.
    """
    from imbik.recommend.kernels.sgd import BLOCKS, IDENTITY, constrained_epoch, sgd_epoch, stratify

    rng = np.random.default_rng(model.seed)
    mean, link = float(ratings.values.mean(dtype=np.float64)), IDENTITY
    if logistic:
        low, high = ratings.range
        link = np.float32(low), np.float32(high - low)
        # Without biases x is p . q and nothing else, as in the paper.
        mean = float(np.log((mean - low) / (high - mean))) if model.biases else 0.0
    dims = model.rank + model.biases
    users, items = (
        with_bias_column(initial_rows(model, ratings, side, dims, start, rng, 0.1), model.biases) for side in ("users", "items")
    )
    traits = np.zeros((len(ratings.item_ids), model.rank), np.float32)
    *columns, borders = stratify(ratings, rng)
    triples = columns[0], columns[1], columns[2]
    per_user = len(ratings) / len(ratings.user_ids)  # how often the ridge acts on a user in one pass
    ridges = np.float32(model.bias_ridge / per_user), np.float32(model.ridge / per_user)
    ratings_of_users = ratings.by_user.indptr, ratings.by_user.indices, ratings.by_user.values
    for epoch in range(model.epochs):
        # A falling rate lets the last passes average over what the single ratings pull at.
        rate = np.float32(model.learning_rate / (1 + 2 * epoch / model.epochs))
        rates = (rate, *ridges, np.float32(mean), np.float32(model.biases))
        if constrained:
            order = rng.permutation(len(ratings.user_ids))
            error = constrained_epoch(order, ratings_of_users, (users, items), traits, rates, link)
        else:
            error = sgd_epoch(triples, borders, rng.permutation(BLOCKS), (users, items), rates, link)
        report(epoch + 1, model.epochs, float(np.sqrt(error / len(ratings))))
    if constrained:
        # A user's vector is y_u + mean of w_j: summed once here, it predicts like any other.
        users[:, 1:] += mean_traits(ratings.by_user, traits)
    return users, items, mean


def mean_traits(side: Compressed, traits: Array) -> Array:
    """Return the mean of the traits of the items that each user rated, (users, rank); zeros for users without ratings."""
    from scipy.sparse import csr_matrix

    counts = np.diff(side.indptr)
    shares = np.repeat(1.0 / np.maximum(counts, 1), counts).astype(np.float32)
    matrix = csr_matrix((shares, side.indices, side.indptr), shape=(len(counts), len(traits)))
    return np.asarray(matrix @ traits, np.float32)
