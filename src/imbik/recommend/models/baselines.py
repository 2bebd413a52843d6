"""The baselines that everybody forgets: one number, biases, popularity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from imbik.recommend.data.ratings import Array, Ratings
from imbik.recommend.models.factors import FactorModel
from imbik.recommend.models.model import Model, Report, register


def fit_biases(ratings: Ratings, user_ridge: float, item_ridge: float, epochs: int = 15) -> tuple[float, Array, Array]:
    """Return (mean, b, c) that minimize sum (r_ui - mean - b_u - c_i)^2 + user_ridge |b|^2 + item_ridge |c|^2.

    Solved by turns. Everything is linear in the ratings and the ridges add to counts, so no unit is involved.
    """
    mean = float(ratings.values.mean(dtype=np.float64))
    rest = ratings.values.astype(np.float64) - mean
    users, items = ratings.shape
    user_count = np.bincount(ratings.users, minlength=users) + user_ridge
    item_count = np.bincount(ratings.items, minlength=items) + item_ridge
    user_bias, item_bias = np.zeros(users), np.zeros(items)
    for _ in range(epochs):  # each turn is the exact minimum of one side given the other
        item_bias = np.bincount(ratings.items, rest - user_bias[ratings.users], items) / np.maximum(item_count, 1e-9)
        user_bias = np.bincount(ratings.users, rest - item_bias[ratings.items], users) / np.maximum(user_count, 1e-9)
    return mean, user_bias, item_bias


@register
@dataclass
class GlobalMean(FactorModel):
    """Predicts the mean rating, whoever asks: what a model must beat to have learnt anything."""

    name: ClassVar[str] = "global-mean"
    seed: int = 0

    def _fit(self, ratings: Ratings, start: Model | None, report: Report) -> None:
        users, items = ratings.shape
        mean = float(ratings.values.mean(dtype=np.float64))
        self._keep(np.zeros((users, 1), np.float32), np.zeros((items, 1), np.float32), mean)


@register
@dataclass
class Biases(FactorModel):
    """r = m + b_u + c_i: some users are generous, some items are good. No taste at all, and hard to beat by much.

    >>> Biases(user_ridge=0, item_ridge=0).fit(Ratings.of("aabb", "xyxy", [5, 4, 3, 2])).predict(["a"], ["y"])
    array([4.], dtype=float32)
    """

    name: ClassVar[str] = "biases"
    user_ridge: float = 4.0
    item_ridge: float = 3.0
    seed: int = 0

    def _fit(self, ratings: Ratings, start: Model | None, report: Report) -> None:
        mean, user_bias, item_bias = fit_biases(ratings, self.user_ridge, self.item_ridge)
        self._keep(user_bias[:, None], item_bias[:, None], mean)


@register
@dataclass
class MostPopular(FactorModel):
    """Ranks items by how many users have them, the same for everybody."""

    name: ClassVar[str] = "most-popular"
    feedback: ClassVar[str] = "implicit"
    seed: int = 0

    def _fit(self, ratings: Ratings, start: Model | None, report: Report) -> None:
        counts = np.bincount(ratings.items, minlength=ratings.shape[1]).astype(np.float32)
        self._keep(np.zeros((ratings.shape[0], 1), np.float32), counts[:, None], 0.0)
