"""Models of the form mean + b_u + c_i + p_u . q_i: their prediction, and what their fits have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from imbik.errors import UserError
from imbik.recommend.data.ratings import Array, Compressed, Ratings
from imbik.recommend.models.model import Model

NO_ROWS = np.zeros((0, 0), np.float32)
NO_WEIGHTS = np.zeros(0, np.float32)
Design = tuple[Array, Array, Array]  # design (m, padded), offset (m,), variances (m, D) or no rows


class FactorModel(Model):
    """`arrays_["users"]` is (users + 1, 1 + rank) and `arrays_["items"]` (items + 1, 1 + rank): bias, then factors.

    The last row of each side is used for the cold. `facts_["mean"]` is the constant.
    """

    def _pairs(self, users: Array, items: Array) -> Array:
        from imbik.recommend.kernels.predict import sampled_means

        left, right = self.arrays_["users"][None], self.arrays_["items"][None]
        values: Array = sampled_means(users, items, left, right)[:, 0] + np.float32(self.facts_["mean"])
        return values

    def scores(self, users: Array) -> Array:
        left, right = self.arrays_["users"][users], self.arrays_["items"][:-1]
        product: Array = left[:, 1:] @ right[:, 1:].T
        product += left[:, :1] + np.float32(self.facts_["mean"])
        product += right[:, 0]
        return product

    def _keep(self, users: Array, items: Array, mean: float, biases: bool = True, cold: Any = (None, None)) -> None:
        """Store both sides (n, D) with a bias column and a row for the cold: zeros, or the given vector."""
        self.arrays_ = {
            name: with_cold_row(with_bias_column(rows, biases), vector)
            for name, rows, vector in (("users", users, cold[0]), ("items", items, cold[1]))
        }
        self.facts_["mean"] = float(mean)


@dataclass
class TrainedFactors(FactorModel):
    """Factors with optional biases that are learnt in passes and can be continued: the settings that such models share."""

    continues: ClassVar[bool] = True
    rank: int = 10
    biases: bool = True
    seed: int = 0
    threads: int = 0


def with_bias_column(rows: Array, biases: bool) -> Array:
    """Rows whose first column is the bias; a column of zeros when there is none."""
    return rows if biases else np.hstack([np.zeros((len(rows), 1), rows.dtype), rows])


def with_cold_row(rows: Array, vector: Array | None = None) -> Array:
    """One more row at the end, zeros or `vector` (which may lack the bias)."""
    last = np.zeros((1, rows.shape[1]), np.float32)
    if vector is not None:
        last[0, rows.shape[1] - len(vector) :] = vector
    return np.vstack([rows.astype(np.float32), last])


def as_side(side: Compressed, weights: Array = NO_WEIGHTS) -> tuple[Array, Array, Array, Array]:
    """The tuple that the kernels take."""
    return side.indptr, side.indices, side.values, weights


def seen_through(rows: Array, mean: float, biases: bool, spread: Array = NO_ROWS) -> Design:
    """What the other side is solved against: the bias column becomes 1 and moves to the offset."""
    from imbik.recommend.kernels.gaussian import padded

    design = padded(rows)
    if not biases:
        return design, np.full(len(rows), mean, np.float32), spread
    offset = (rows[:, 0] + mean).astype(np.float32)
    design[:, 0] = 1.0
    if len(spread):
        spread = spread.copy()
        spread[:, 0] = 0.0  # the constant 1 is certain
    return design, offset, spread


def initial_rows(
    model: object, ratings: Ratings, side: str, dims: int, start: Model | None, rng: np.random.Generator, scale: float
) -> Array:
    """(n, dims) float32: N(0, scale^2), biases 0; rows that `start` knows are taken from it."""
    names = ratings.user_ids if side == "users" else ratings.item_ids
    biases = bool(getattr(model, "biases", True))
    rows = (scale * rng.standard_normal((len(names), dims))).astype(np.float32)
    if biases:
        rows[:, 0] = 0.0
    if start is None:
        return rows
    start._check_fitted()
    old = start.arrays_[side]
    old = old[-1] if old.ndim == 3 else old
    old = old if biases else old[:, 1:]
    if old.shape[1] != dims:
        raise UserError(
            "the model to continue has another shape", found=f"rank {old.shape[1] - biases}", expected=f"rank {dims - biases}",
            fix=f"fit with --rank {old.shape[1] - biases}, or without --continue",
        )  # fmt: skip
    codes = start.codes(side[:-1], names.tolist(), True)
    rows[codes >= 0] = old[codes[codes >= 0]]
    return rows


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Run kernels on `count` threads (0: all cores), BLAS on one: its idle threads spin and cost up to three times."""
    import numba
    from threadpoolctl import threadpool_limits

    before = numba.get_num_threads()
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS) if count else numba.config.NUMBA_NUM_THREADS)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        numba.set_num_threads(before)
