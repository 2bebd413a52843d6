"""Recall and nDCG of documents that are ranked by the cosine of their vectors with a query's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from imbik.tasks.metrics import Draw, Metric
from imbik.tasks.outputs import Array
from imbik.tasks.ranking.relevance import Collection

_CELLS = 20_000_000
"""Cosines that are held at once."""

PerQuery = Callable[[Sequence[int], Sequence[int], int], float]
"""Grades of the k nearest documents, nearest first; the grades above 0 of all documents; k -> the metric of one query."""


def recall(found: Sequence[int], wanted: Sequence[int], k: int) -> float:
    """Compute the share of a query's answers that are among the k nearest documents.

    >>> recall([0, 2], [2, 1, 1], 2)
    0.3333333333333333
    """
    return sum(grade > 0 for grade in found[:k]) / len(wanted)


def ndcg(found: Sequence[int], wanted: Sequence[int], k: int) -> float:
    """Compute the normalized discounted cumulative gain: Σ_i g_i / log2(i + 1) over the k nearest documents, i from 1, as a share of what
    the best order of all documents has (Järvelin and Kekäläinen 2002, doi 10.1145/582415.582418; gains are the grades themselves).

    >>> round(float(ndcg([0, 1], [1], 10)), 4)  # 1 / log2(3)
    0.6309
    """
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    best = sorted(wanted, reverse=True)[:k]
    # in the order of the ranks, as scikit-learn sums them
    return float(np.dot(found[:k], discounts[: len(found[:k])]) / np.dot(best, discounts[: len(best)]))


class Ranking(Metric):
    """The mean over queries of what a ranking of the documents is worth; rows of vectors, ``(N, D)``, see
    :mod:`imbik.tasks.ranking.relevance`. Documents of equal cosine stand in the order of their rows. Queries none of whose answers is
    among the documents do not count; without any other the metric is NaN.

    Args:
        name: as the user names it.
        per_query: the metric of one query.
        k: documents that are looked at.
        share: whether it is a share from 0 to 1 that reports show in per cent.
    """

    def __init__(self, name: str, per_query: PerQuery, k: int, *, share: bool = False) -> None:
        super().__init__(name, share=share)
        self.per_query, self.k = per_query, k

    def score(self, predictions: Array, targets: Array, labels: int = 0) -> float:
        """Compute the mean over the queries."""
        values = self.values(predictions, targets)
        return float(values[~np.isnan(values)].mean()) if not np.isnan(values).all() else float("nan")

    def draws(self, predictions: Array, targets: Array, labels: int = 0) -> Draw:
        """Return the mean over the queries among drawn rows, each of which ranks all documents."""
        values = self.values(predictions, targets)
        counted = ~np.isnan(values)
        whole = self.score(predictions, targets)

        def drawn(items: Array) -> Array:
            found, there = np.where(counted, values, 0.0)[items].sum(1), counted[items].sum(1)
            # a draw of documents alone says nothing
            return np.where(there > 0, found / np.maximum(there, 1), whole)

        return drawn

    def values(self, predictions: Array, targets: Array) -> NDArray[np.float64]:
        """Return the metric of each row, (N,); NaN where it is a document, or a query that does not count."""
        values = np.full(len(targets), np.nan)
        collection = Collection.of(targets)
        for row, grades, nearest in zip(collection.queries, collection.grades, _nearest(predictions, collection, self.k), strict=True):
            found = [max(grades.get(place, 0), 0) for place in nearest]
            values[row] = self.per_query(found, [grade for grade in grades.values() if grade > 0], self.k)
        return values


def _nearest(vectors: Array, collection: Collection, k: int) -> Iterator[list[int]]:
    """Yield the places of the k nearest documents of each query, nearest first."""
    if not len(collection.queries):
        return
    documents = _unit(vectors[collection.documents])
    step = max(1, _CELLS // len(documents))
    for start in range(0, len(collection.queries), step):
        cosines = _unit(vectors[collection.queries[start : start + step]]) @ documents.T
        for number, row in enumerate(cosines, start):
            itself = [place for place, grade in collection.grades[number].items() if grade < 0]
            row[itself] = -np.inf
            last = np.partition(row, -k)[-k] if len(row) > k else -np.inf
            # more than k where several are as near as the last: the order of the rows decides
            near = np.flatnonzero(row >= last)
            order = near[np.argsort(-row[near], kind="stable")][:k]
            yield order[row[order] > -np.inf].tolist()


def _unit(vectors: Array) -> NDArray[np.float32]:
    """Return vectors of length 1; those of length 0 stay."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(lengths == 0, 1.0, lengths), np.float32)


NDCG_10 = Ranking("ndcg@10", ndcg, 10)
RANKING = (
    NDCG_10,
    Ranking("recall@1", recall, 1, share=True),
    Ranking("recall@5", recall, 5, share=True),
    Ranking("recall@10", recall, 10, share=True),
    Ranking("recall@100", recall, 100, share=True),
)
"""What retrieval is stated in, the default first."""
