"""The two things called SVD: the truncated decomposition, and the biased factors of the Netflix prize."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from imbik.recommend.data.ratings import Array, Ratings
from imbik.recommend.data.scale import Invariance
from imbik.recommend.models.baselines import fit_biases
from imbik.recommend.models.factors import FactorModel, TrainedFactors, threads
from imbik.recommend.models.model import Model, Report, register
from imbik.recommend.models.sgd import descend


@register
@dataclass
class TruncatedSVD(FactorModel):
    """The best rank-k approximation of the whole matrix (Eckart & Young 1936), empty cells taken as zero.

    Explicit feedback: the matrix of residuals r_ui - m - b_u - c_i, so that an empty cell says "as the biases predict"
    and not "zero stars"; ``fill`` times the rest is computed again with the empty cells at their predicted value (hard
    impute, one Lanczos run each), which lets observed cells count for more. Implicit feedback (``biases=False``):
    PureSVD of the counts (Cremonesi et al. 2010). The singular vectors are scaled by the roots of the singular values on
    both sides.

    >>> model = TruncatedSVD(rank=1).fit(Ratings.of("aabbcc", "xyxyxy", [5, 1, 4, 2, 5, 2]))
    >>> model.arrays_["users"].shape
    (4, 2)
    """

    name: ClassVar[str] = "truncated-svd"
    reads_events: ClassVar[bool] = True
    rank: int = 10
    biases: bool = True
    ridge: float = 5.0
    fill: int = 2
    seed: int = 0
    threads: int = 0

    def _fit(self, ratings: Ratings, start: Model | None, report: Report) -> None:
        from imbik.recommend.kernels.predict import dots

        mean = 0.0
        user_bias, item_bias = np.zeros(ratings.shape[0]), np.zeros(ratings.shape[1])
        with threads(self.threads):
            if self.biases and not ratings.implicit:
                mean, user_bias, item_bias = fit_biases(ratings, self.ridge, self.ridge)
            rest = ratings.values - (mean + user_bias[ratings.users] + item_bias[ratings.items])  # (N,)
            left, right = (np.zeros((count, self.rank), np.float32) for count in ratings.shape)
            rounds = 1 if ratings.implicit else self.fill + 1
            for done in range(rounds):  # events have no blanks to fill: an empty cell says no
                left, right = self._decompose(ratings, rest, left, right)
                error = rest - dots(ratings.users, ratings.items, left, right)
                report(done + 1, rounds, float(np.sqrt(np.mean(error.astype(np.float64) ** 2))))
        self._keep(np.column_stack([user_bias, left]), np.column_stack([item_bias, right]), mean)

    def _decompose(self, ratings: Ratings, rest: Array, left: Array, right: Array) -> tuple[Array, Array]:
        """Return the rank-k SVD of (rest on observed cells, left right' elsewhere), never formed: sparse plus low rank."""
        from scipy.sparse import csr_matrix
        from scipy.sparse.linalg import ArpackError, LinearOperator, svds

        from imbik.recommend.kernels.predict import dots

        # X = (rest - left right') on observed cells + left right' everywhere: the first part is sparse, the second thin,
        # so X v costs as much as the ratings.
        cells = (rest - dots(ratings.users, ratings.items, left, right)).astype(np.float64)
        sparse = csr_matrix((cells, (ratings.users, ratings.items)), shape=ratings.shape)
        transposed = sparse.T.tocsr()
        operator = LinearOperator(
            ratings.shape,
            dtype=np.float64,
            matvec=lambda x: sparse @ x.ravel() + left @ (right.T @ x.ravel()),
            rmatvec=lambda x: transposed @ x.ravel() + right @ (left.T @ x.ravel()),
        )
        if self.rank >= min(ratings.shape):  # Lanczos finds fewer than all
            u, s, vt = np.linalg.svd(sparse.toarray() + left @ right.T, full_matrices=False)
            u, s, vt = u[:, : self.rank], s[: self.rank], vt[: self.rank]
        else:
            try:
                u, s, vt = svds(operator, k=self.rank, rng=np.random.default_rng(self.seed))
            except ArpackError as error:
                self._diverged(str(error))
        order, root = np.argsort(-s), np.sqrt(np.maximum(s, 0.0))
        return (u * root)[:, order].astype(np.float32), (vt.T * root)[:, order].astype(np.float32)


@register
@dataclass
class BiasedSVD(TrainedFactors):
    """What recommenders call SVD (Funk 2006; Koren 2008): r = m + b_u + c_i + p_u . q_i by stochastic gradient descent.

    The same function as PMF with biases and a fixed prior, found by SGD: one rating at a time,

        p_u += learning_rate (e_ui q_i - ridge / n p_u),   e_ui = r_ui - prediction,   n = mean ratings of a user

    with ratings in units of ``data/scale.py``, so that one learning rate fits stars, percent and dollars.

    >>> BiasedSVD(rank=1, epochs=3).fit(Ratings.of("aabbcc", "xyxyxy", [5, 1, 4, 2, 5, 2])).facts_["mean"] > 3
    True
    """

    name: ClassVar[str] = "svd"
    invariance: ClassVar[Invariance] = "interval"
    rank: int = 50
    ridge: float = 10.0
    bias_ridge: float = 4.0
    epochs: int = 60
    learning_rate: float = 0.02

    def _fit(self, ratings: Ratings, start: Model | None, report: Report) -> None:
        with threads(self.threads):
            self._keep(*descend(self, ratings, start, report))

    def _remedy(self) -> str:
        return f"lower learning_rate, which is {self.learning_rate:g}"
