"""Models of the form mean + b_u + c_i + p_u . q_i: their prediction, and what their fits have in common."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from imbik.errors import UserError
from imbik.recommend.data.ratings import Array, Compressed, Ratings
from imbik.recommend.models.model import Model

NO_ROWS = np.zeros((0, 0), np.float32)
NO_WEIGHTS = np.zeros(0, np.float32)


class Design(NamedTuple):
    """What one side is solved against: design (m, padded), offset (m,), variances (m, D) or no rows."""

    rows: Array
    offset: Array
    variances: Array


class Ranked(Protocol):
    """The settings of a model that is started at random or continued."""

    @property
    def biases(self) -> bool:
        """Whether the first column of a row is its bias."""


class FactorModel(Model):
    """``arrays_["users"]`` is (users + 1, 1 + rank) and ``arrays_["items"]`` (items + 1, 1 + rank): bias, then factors.

    The last row of each side is used for the cold. ``facts_["mean"]`` is the constant.
    """

    def _pairs(self, users: Array, items: Array) -> Array:
        from imbik.recommend.kernels.predict import sampled_means

        left, right = self.arrays_["users"][None], self.arrays_["items"][None]  # (1, n + 1, 1 + rank)
        values: Array = sampled_means(users, items, left, right)[:, 0] + np.float32(self.facts_["mean"])
        return values

    def scores(self, users: Array) -> Array:
        left, right = self.arrays_["users"][users], self.arrays_["items"][:-1]
        product: Array = left[:, 1:] @ right[:, 1:].T  # (len(users), items)
        product += left[:, :1] + np.float32(self.facts_["mean"])
        product += right[:, 0]  # the item's bias, to every user's row
        return product

    def _keep(
        self, users: Array, items: Array, mean: float, biases: bool = True, cold: tuple[Array | None, Array | None] = (None, None)
    ) -> None:
        """Store both sides (n, D) with a bias column and a row for the cold: zeros, or the given vector."""
        self.arrays_ = {
            name: with_cold_row(with_bias_column(rows, biases), vector)
            for name, rows, vector in (("users", users, cold[0]), ("items", items, cold[1]))
        }
        self.facts_["mean"] = float(mean)

    def _rescaled(self, factor: float) -> Model:
        """Return the model for ratings times ``factor``.

        Biases and the mean grow with it. Both factors of a product grow with its root, so that neither side dwarfs the
        other. A precision is one over a square.
        """
        if factor == 1.0:
            return self
        scaled = copy.copy(self)
        columns = np.full(self.arrays_["users"].shape[-1], np.sqrt(factor))
        columns[0] = factor
        scaled.arrays_ = {
            name: (array.astype(np.float64) / factor**2 if name == "precision" else (array * columns).astype(np.float32))
            for name, array in self.arrays_.items()
        }
        powers = {"mean": 1, "noise": -2, "precision": -2}
        scaled.facts_ = {name: value * factor ** powers.get(name, 0) for name, value in self.facts_.items()}
        return scaled

    def _check_learnt(self) -> None:
        users, items = self.arrays_["users"], self.arrays_["items"]
        rows = (users.shape[-2], items.shape[-2])
        if rows != (len(self.user_ids_) + 1, len(self.item_ids_) + 1) or users.shape[-1] != items.shape[-1] or users.ndim != items.ndim:
            raise ValueError("users or items are missing")
        if users.dtype != np.float32 or items.dtype != np.float32 or "mean" not in self.facts_:
            raise ValueError("factors are missing")


@dataclass
class TrainedFactors(FactorModel):
    """Factors with optional biases that are learnt in passes and can be continued: the settings that such models share."""

    continues: ClassVar[bool] = True
    rank: int = 10
    biases: bool = True
    seed: int = 0
    threads: int = 0


def with_bias_column(rows: Array, biases: bool) -> Array:
    """Return rows whose first column is the bias; a column of zeros when there is none."""
    return rows if biases else np.hstack([np.zeros((len(rows), 1), rows.dtype), rows])


def with_cold_row(rows: Array, vector: Array | None = None) -> Array:
    """Return rows with one more at the end, zeros or ``vector`` (which may lack the bias)."""
    last = np.zeros((1, rows.shape[1]), np.float32)
    if vector is not None:
        last[0, rows.shape[1] - len(vector) :] = vector
    return np.vstack([rows.astype(np.float32), last])


def as_side(side: Compressed, weights: Array = NO_WEIGHTS) -> tuple[Array, Array, Array, Array]:
    """Return the tuple that the kernels take."""
    return side.indptr, side.indices, side.values, weights


def seen_through(rows: Array, mean: float, biases: bool, spread: Array = NO_ROWS) -> Design:
    """Return what the other side is solved against: the bias column becomes 1 and moves to the offset.

    With x = (b_u, p_u) and z = (1, q_i), x . z = b_u + p_u . q_i; what is left of the prediction, the mean and c_i, does
    not depend on x and is subtracted from the rating.
    """
    from imbik.recommend.kernels.gaussian import padded

    design = padded(rows)
    if not biases:
        return Design(design, np.full(len(rows), mean, np.float32), spread)
    offset = (rows[:, 0] + mean).astype(np.float32)
    design[:, 0] = 1.0
    if len(spread):
        spread = spread.copy()
        spread[:, 0] = 0.0  # the constant 1 is certain
    return Design(design, offset, spread)


def initial_rows(
    model: Ranked, ratings: Ratings, side: str, dims: int, start: Model | None, rng: np.random.Generator, scale: float
) -> Array:
    """Return rows to begin with, (n, dims) float32: N(0, scale^2), biases 0; rows that ``start`` knows are taken from it.

    Raises:
        UserError: ``start`` has another rank.
    """
    names = ratings.user_ids if side == "users" else ratings.item_ids
    rows = (scale * rng.standard_normal((len(names), dims))).astype(np.float32)
    if model.biases:
        rows[:, 0] = 0.0
    if start is None:
        return rows
    old = start.arrays_[side]
    old = old[-1] if old.ndim == 3 else old  # of samples (S, n + 1, D) the last
    old = old if model.biases else old[:, 1:]
    if old.shape[1] != dims:
        raise UserError(
            "the model to continue has another shape",
            found=f"rank {old.shape[1] - model.biases}",
            expected=f"rank {dims - model.biases}",
            fix=f"fit with --rank {old.shape[1] - model.biases}, or without --continue",
        )
    # Tables may differ: users who came since keep their random row.
    codes = start.codes(side[:-1], names.tolist(), True)
    rows[codes >= 0] = old[codes[codes >= 0]]
    return rows


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Context manager: run kernels on ``count`` threads (0: all cores), BLAS on one: its idle threads spin, up to three times the cost."""
    import numba
    from threadpoolctl import threadpool_limits

    # The count is of the calling thread alone: two models may be fitted at a time with different ones.
    before = numba.get_num_threads()
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS) if count else numba.config.NUMBA_NUM_THREADS)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        numba.set_num_threads(before)
