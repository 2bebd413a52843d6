"""Item-based nearest neighbours: the baseline that is older than factor models and often as good at ranking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from imbik.recommend.data.ratings import Array, Ratings
from imbik.recommend.models.baselines import fit_biases
from imbik.recommend.models.model import Model, Report, register


@register
@dataclass
class ItemKNN(Model):
    """Item-kNN (Sarwar et al. 2001) with shrunk cosine similarity of what the biases leave over.

        prediction = m + b_u + c_i + sum_j s_ij e_uj / (sum_j |s_ij| + shrink_weights),  j in the `neighbours` nearest of i rated by u
        s_ij = cosine(e_.i, e_.j) n_ij / (n_ij + shrink),   n_ij users in common

    with e the residuals of the biases. Implicit data: e are the counts, the score is sum_j s_ij e_uj.
    """

    name: ClassVar[str] = "item-knn"
    reads_events: ClassVar[bool] = True
    neighbours: int = 50
    shrink: float = 50.0
    shrink_weights: float = 0.3
    seed: int = 0

    def _fit(self, ratings: Ratings, start: Model | None, report: Report) -> None:
        mean, user_bias, item_bias = 0.0, np.zeros(ratings.shape[0]), np.zeros(ratings.shape[1])
        if not ratings.implicit:
            mean, user_bias, item_bias = fit_biases(ratings, 4.0, 3.0)
        rest = ratings.values - (mean + user_bias[ratings.users] + item_bias[ratings.items])
        order = np.lexsort((ratings.items, ratings.users))
        near = self._similar(ratings, rest, report)
        self.facts_ = {"mean": mean, "implicit": float(ratings.implicit)}
        self.arrays_ = {
            "user_bias": np.append(user_bias, 0).astype(np.float32),
            "item_bias": np.append(item_bias, 0).astype(np.float32),
            "residuals": rest[order].astype(np.float32),
            "near.indptr": near.indptr.astype(np.int64), "near.indices": near.indices.astype(np.int32),
            "near.values": near.data.astype(np.float32),
        }  # fmt: skip

    def _similar(self, ratings: Ratings, rest: Array, report: Report, block: int = 1024) -> Any:
        """Sparse (items, items): the nearest of each item, computed in blocks of items to bound the memory."""
        from scipy.sparse import csr_matrix, vstack

        shape = ratings.shape
        cells = csr_matrix((rest.astype(np.float32), (ratings.users, ratings.items)), shape=shape)
        norms = np.sqrt(np.asarray(cells.multiply(cells).sum(axis=0))).ravel()
        cells = cells @ _diagonal(1.0 / np.maximum(norms, 1e-9))
        ones = csr_matrix((np.ones(len(ratings), np.float32), (ratings.users, ratings.items)), shape=shape)
        left, together = cells.T.tocsr(), ones.T.tocsr()
        parts = []
        for start in range(0, shape[1], block):
            cosine = (left[start : start + block] @ cells).tocsr()
            common = (together[start : start + block] @ ones).tocsr()
            parts.append(self._nearest(cosine, common, start))
            report(min(start + block, shape[1]), shape[1], float("nan"))
        return vstack(parts).tocsr()

    def _nearest(self, cosine: Any, common: Any, start: int) -> Any:
        from scipy.sparse import csr_matrix

        dense, shared = cosine.toarray(), common.toarray()
        dense *= shared / (shared + self.shrink)
        dense[np.arange(len(dense)), start + np.arange(len(dense))] = 0.0
        k = min(self.neighbours, dense.shape[1])
        best = np.argpartition(-np.abs(dense), k - 1, axis=1)[:, :k]
        rows = np.repeat(np.arange(len(dense)), k)
        return csr_matrix((dense[rows, best.ravel()], (rows, best.ravel())), shape=dense.shape)

    def _matrices(self) -> tuple[Any, Any]:
        """(residuals users + 1 x items, similarities items x items); the row of the cold is empty."""
        from scipy.sparse import csr_matrix

        a = self.arrays_
        count = len(self.item_ids_)
        indptr = np.append(self.seen_.indptr, self.seen_.indptr[-1])
        rest = csr_matrix((a["residuals"], self.seen_.indices, indptr), shape=(len(indptr) - 1, count))
        near = csr_matrix((a["near.values"], a["near.indices"], a["near.indptr"]), shape=(count, count))
        return rest, near

    def scores(self, users: Array) -> Array:
        rest, near = self._matrices()
        rows = rest[users]
        total = np.asarray((rows @ near.T).todense(), np.float32)
        if self.facts_["implicit"]:
            return total
        weight = np.asarray(((rows != 0).astype(np.float32) @ abs(near).T).todense(), np.float32)
        bias = self.arrays_["user_bias"][users][:, None] + self.arrays_["item_bias"][:-1] + np.float32(self.facts_["mean"])
        return np.asarray(total / (weight + self.shrink_weights) + bias, np.float32)

    def _pairs(self, users: Array, items: Array) -> Array:
        out = np.empty(len(users), np.float32)
        order = np.argsort(users, kind="stable")
        for first in range(0, len(order), 4096):
            rows = order[first : first + 4096]
            distinct, place = np.unique(users[rows], return_inverse=True)
            known = np.where(items[rows] >= 0, items[rows], 0)
            out[rows] = self.scores(distinct)[place, known]
        cold = items < 0
        out[cold] = self.arrays_["user_bias"][users[cold]] + np.float32(self.facts_["mean"])
        return out


def _diagonal(values: Array) -> Any:
    from scipy.sparse import diags

    return diags(values.astype(np.float32)).tocsr()
