"""Item-based nearest neighbors: the baseline that is older than factor models and often as good at ranking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from imbik.recommend.data.ratings import Array, Compressed, Ratings
from imbik.recommend.models.baselines import fit_biases
from imbik.recommend.models.model import Model, Report, register
from imbik.recommend.models.settings import renamed_settings
from imbik.recommend.models.storage import check_compressed

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_BLOCK = 1024  # items whose similarities to all others are dense at a time


@register
@renamed_settings
@dataclass
class ItemKNN(Model):
    """Item-kNN (Sarwar et al. 2001) with shrunk cosine similarity of what the biases leave over.

        prediction = m + b_u + c_i + sum_j s_ij e_uj / (sum_j |s_ij| + shrink_weights),
                     j in the ``neighbors`` nearest of i rated by u
        s_ij = cosine(e_.i, e_.j) n_ij / (n_ij + shrink),   n_ij users in common

    with e the residuals of the biases. Implicit data: e are the counts, the score is sum_j s_ij e_uj. A cosine has no
    unit, so neither have the settings.
    """

    name: ClassVar[str] = "item-knn"
    reads_events: ClassVar[bool] = True
    neighbors: int = 50
    shrink: float = 50.0
    shrink_weights: float = 0.3
    seed: int = 0

    def _fit(self, ratings: Ratings, start: Model | None, report: Report) -> None:
        mean = 0.0
        user_bias, item_bias = np.zeros(ratings.shape[0]), np.zeros(ratings.shape[1])
        if not ratings.implicit:
            mean, user_bias, item_bias = fit_biases(ratings, 4.0, 3.0)
        rest = ratings.values - (mean + user_bias[ratings.users] + item_bias[ratings.items])  # (N,)
        order = np.lexsort((ratings.items, ratings.users))  # as in ``seen_``, whose pointers the residuals share
        near = self._similar(ratings, rest, report)
        self.facts_ = {"mean": mean, "implicit": float(ratings.implicit)}
        self.arrays_ = {
            "user_bias": np.append(user_bias, 0).astype(np.float32),
            "item_bias": np.append(item_bias, 0).astype(np.float32),
            "residuals": rest[order].astype(np.float32),
            "near.indptr": near.indptr.astype(np.int64),
            "near.indices": near.indices.astype(np.int32),
            "near.values": near.data.astype(np.float32),
        }

    def _similar(self, ratings: Ratings, rest: Array, report: Report) -> csr_matrix:
        """Return the nearest of each item, sparse (items, items), computed in blocks of items to bound the memory."""
        from scipy.sparse import csr_matrix, diags, vstack

        shape = ratings.shape
        cells = csr_matrix(((rest / _largest(rest)).astype(np.float32), (ratings.users, ratings.items)), shape=shape)
        norms = np.sqrt(np.asarray(cells.multiply(cells).sum(axis=0))).ravel()  # (items,)
        # Columns of length 1: the product of two is their cosine.
        cells = cells @ diags((1.0 / np.maximum(norms, 1e-9)).astype(np.float32)).tocsr()
        ones = csr_matrix((np.ones(len(ratings), np.float32), (ratings.users, ratings.items)), shape=shape)
        left, together = cells.T.tocsr(), ones.T.tocsr()
        parts = []
        for start in range(0, shape[1], _BLOCK):
            cosine = (left[start : start + _BLOCK] @ cells).tocsr()
            common = (together[start : start + _BLOCK] @ ones).tocsr()
            parts.append(self._nearest(cosine, common, start))
            report(min(start + _BLOCK, shape[1]), shape[1], float("nan"))
        return vstack(parts).tocsr()

    def _nearest(self, cosine: csr_matrix, common: csr_matrix, start: int) -> csr_matrix:
        from scipy.sparse import csr_matrix

        dense, shared = cosine.toarray(), common.toarray()  # (block, items)
        dense *= shared / (shared + self.shrink)
        dense[np.arange(len(dense)), start + np.arange(len(dense))] = 0.0  # an item is no neighbor of itself
        k = min(self.neighbors, dense.shape[1])
        # Dissimilar items (s < 0) speak too, so the nearest are those of the largest size.
        best = np.argpartition(-np.abs(dense), k - 1, axis=1)[:, :k]
        rows = np.repeat(np.arange(len(dense)), k)
        return csr_matrix((dense[rows, best.ravel()], (rows, best.ravel())), shape=dense.shape)

    def _matrices(self) -> tuple[csr_matrix, csr_matrix]:
        """Return residuals (users + 1, items), where the row of the cold is empty, and similarities (items, items)."""
        from scipy.sparse import csr_matrix

        count = len(self.item_ids_)
        indptr = np.append(self.seen_.indptr, self.seen_.indptr[-1])
        rest = csr_matrix((self.arrays_["residuals"], self.seen_.indices, indptr), shape=(len(indptr) - 1, count))
        near = self._near()
        return rest, csr_matrix((near.values, near.indices, near.indptr), shape=(count, count))

    def _near(self) -> Compressed:
        return Compressed(*(self.arrays_[f"near.{part}"] for part in ("indptr", "indices", "values")))

    def scores(self, users: Array) -> Array:
        rest, near = self._matrices()
        rows = rest[users]
        total = np.asarray((rows @ near.T).todense(), np.float32)  # (len(users), items)
        if self.facts_["implicit"]:
            return total
        weight = np.asarray(((rows != 0).astype(np.float32) @ abs(near).T).todense(), np.float32)
        bias = self.arrays_["user_bias"][users][:, None] + self.arrays_["item_bias"][:-1] + np.float32(self.facts_["mean"])
        return np.asarray(total / (weight + self.shrink_weights) + bias, np.float32)

    def _pairs(self, users: Array, items: Array) -> Array:
        out = np.empty(len(users), np.float32)
        order = np.argsort(users, kind="stable")
        for first in range(0, len(order), 4096):  # users in order: scores of one user are computed once
            rows = order[first : first + 4096]
            distinct, place = np.unique(users[rows], return_inverse=True)
            known = np.where(items[rows] >= 0, items[rows], 0)
            out[rows] = self.scores(distinct)[place, known]
        cold = items < 0
        out[cold] = self.arrays_["user_bias"][users[cold]] + np.float32(self.facts_["mean"])
        return out

    def _check_learnt(self) -> None:
        users, items = len(self.user_ids_), len(self.item_ids_)
        near = self._near()
        check_compressed(near, items, items)
        lengths = {"user_bias": users + 1, "item_bias": items + 1, "residuals": len(self.seen_.indices), "near.values": len(near.indices)}
        if any(self.arrays_[name].shape != (length,) for name, length in lengths.items()) or not {"mean", "implicit"} <= set(self.facts_):
            raise ValueError("users or items are missing")


def _largest(values: Array) -> float:
    """Return the largest size, 1 where all are zero: squares of what is divided by it neither vanish nor overflow."""
    return float(np.abs(values).max()) or 1.0
