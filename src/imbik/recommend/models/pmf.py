"""Probabilistic matrix factorization: the most probable factors, by alternating least squares or by SGD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from imbik.errors import UserError
from imbik.recommend.data.ratings import Array, Compressed, Ratings
from imbik.recommend.models.factors import NO_ROWS, Design, TrainedFactors, as_side, initial_rows, seen_through, threads
from imbik.recommend.models.model import Model, Report, register
from imbik.recommend.models.sgd import descend


@register
@dataclass
class PMF(TrainedFactors):
    """PMF (Salakhutdinov & Mnih, NIPS 2007): gaussian ratings, gaussian factors, the mode of the posterior.

        minimize  sum (r_ui - m - b_u - c_i - p_u . q_i)^2 + sum_u x_u' L_U x_u + sum_i z_i' L_V z_i

    with x_u = (b_u, p_u), z_i = (c_i, q_i) and m the mean rating. `prior` says what L is:

    * `fixed`: `ridge` on factors, `bias_ridge` on biases, for every row (their ratio of variances in the paper);
    * `weighted`: the same times the number of ratings of the row (ALS-WR, Zhou et al. 2008);
    * `adaptive`: one precision per dimension and side and the noise are learnt with the factors. Where the paper takes the
      mode of these too, which collapses, we keep the variance of each row (variational EM, Lim & Teh 2007).

    `solver="als"` solves each row exactly; `"sgd"` takes `epochs` passes of `learning_rate` (fixed prior only), and so does
    `constrained=True`: p_u = y_u + mean of w_j over the items that u rated (section 4 of the paper), which helps users with
    few ratings.

    >>> ratings = Ratings.of("aabbcc", "xyxyxy", [5, 1, 4, 2, 5, 2])
    >>> bool(PMF(rank=1).fit(ratings).predict(["a"], ["x"])[0] > 3)
    True
    """

    name: ClassVar[str] = "pmf"
    prior: Literal["fixed", "weighted", "adaptive"] = "adaptive"
    ridge: float = 8.0
    bias_ridge: float = 4.0
    solver: Literal["als", "sgd"] = "als"
    constrained: bool = False
    epochs: int = 30
    learning_rate: float = 0.01

    def _fit(self, ratings: Ratings, start: Model | None, report: Report) -> None:
        if self.prior not in ("fixed", "weighted", "adaptive") or self.solver not in ("als", "sgd"):
            raise UserError(
                "unknown prior or solver", where="pmf", found=f"prior={self.prior}, solver={self.solver}",
                expected="prior fixed, weighted or adaptive; solver als or sgd",
            )  # fmt: skip
        with threads(self.threads):
            if self.solver == "sgd" or self.constrained:
                self._keep(*descend(self, ratings, start, report, self.constrained))
            else:
                self._alternate(ratings, start, report)

    def _alternate(self, ratings: Ratings, start: Model | None, report: Report) -> None:
        from imbik.recommend.kernels.gaussian import chunks, squared_error

        rng = np.random.default_rng(self.seed)
        mean = float(ratings.values.mean(dtype=np.float64))
        sides = ratings.by_user, ratings.by_item
        borders = [chunks(side.indptr, 16) for side in sides]
        dims = self.rank + self.biases
        rows = [initial_rows(self, ratings, side, dims, start, rng, 0.1) for side in ("users", "items")]
        priors = [Prior(self, dims, len(side.indptr) - 1) for side in sides]
        noise = start.facts_["noise"] if start else 1.0
        for epoch in range(self.epochs):
            for k in (0, 1):
                other = seen_through(rows[1 - k], mean, self.biases, priors[1 - k].variances)
                rows[k] = priors[k].solve(sides[k], borders[k], other, noise)
            other = seen_through(rows[1], mean, self.biases, priors[1].variances)
            error = float(squared_error(borders[0], as_side(sides[0]), rows[0], priors[0].variances, other))
            if self.prior == "adaptive":
                noise = (len(ratings) + 2.0) / (error + 2.0)
            report(epoch + 1, self.epochs, float(np.sqrt(error / len(ratings))))
        self.facts_["noise"] = noise
        self._keep(rows[0], rows[1], mean, self.biases, (priors[0].mean, priors[1].mean))


class Prior:
    """The gaussian prior of one side during ALS: fixed, or re-estimated after each solve."""

    def __init__(self, model: PMF, dims: int, count: int) -> None:
        self.kind = model.prior
        self.mean = np.zeros(dims)
        self.precision = np.full(dims, model.ridge)
        if model.biases:
            self.precision[0] = model.bias_ridge
        self.variances = np.zeros((count, dims), np.float32) if self.kind == "adaptive" else NO_ROWS

    def solve(self, side: Compressed, borders: Array, other: Design, noise: float) -> Array:
        """The most probable rows given the other side; an adaptive prior then fits itself to them."""
        from imbik.recommend.kernels.gaussian import gaussian_rows

        out = np.empty((len(side.indptr) - 1, len(self.mean)), np.float32)
        given = (np.diag(self.precision), self.precision * self.mean, noise, self.kind == "weighted")
        if gaussian_rows(borders, as_side(side), other, given, NO_ROWS, out, self.variances):
            raise UserError("a row cannot be solved", found="a singular matrix", fix="raise ridge and bias_ridge above 0")
        if self.kind == "adaptive":
            self._adapt(out, np.diff(side.indptr) > 0)
        return out

    def _adapt(self, rows: Array, rated: Array) -> None:
        """1 / lambda_d = mean of (x_d - mean_d)^2 + var_d over the rated rows, held off zero by a weak prior."""
        rows, variances = rows[rated].astype(np.float64), self.variances[rated].astype(np.float64)
        self.mean = rows.mean(axis=0)
        spread = ((rows - self.mean) ** 2 + variances).sum(axis=0)
        self.precision = (len(rows) + 2.0) / (spread + 0.02)
