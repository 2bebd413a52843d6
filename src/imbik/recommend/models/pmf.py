"""Probabilistic matrix factorization: the most probable factors, by alternating least squares or by SGD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from imbik.recommend.data.ratings import Array, Compressed, Ratings
from imbik.recommend.data.scale import Invariance
from imbik.recommend.models.factors import NO_ROWS, Design, TrainedFactors, as_side, initial_rows, seen_through, threads
from imbik.recommend.models.model import Model, Report, register
from imbik.recommend.models.sgd import descend

_WEAK_ROWS = 2.0  # the prior of a precision counts as two rows ...
_WEAK_SPREAD = 0.02  # ... of variance 0.01: it holds a dimension that nobody uses off an infinite precision


@register
@dataclass
class PMF(TrainedFactors):
    """PMF (Salakhutdinov & Mnih, NIPS 2007): Gaussian ratings, Gaussian factors, the mode of the posterior.

        minimize  sum (r_ui - m - b_u - c_i - p_u . q_i)^2 + sum_u x_u' L_U x_u + sum_i z_i' L_V z_i

    with x_u = (b_u, p_u), z_i = (c_i, q_i), m the mean rating, and ratings in units of ``data/scale.py``. ``prior`` says
    what L is:

    * ``fixed``: ``ridge`` on factors, ``bias_ridge`` on biases, for every row (their ratio of variances in the paper);
    * ``weighted``: the same times the number of ratings of the row (ALS-WR, Zhou et al. 2008);
    * ``adaptive``: one precision per dimension and side and the noise are learnt with the factors. Where the paper takes
      the mode of these too, which collapses, we keep the variance of each row (variational EM, Lim & Teh 2007).

    ``solver="als"`` solves each row exactly; ``"sgd"`` takes ``epochs`` passes of ``learning_rate`` (fixed prior only),
    and so does ``constrained=True``: p_u = y_u + mean of w_j over the items that u rated (section 4 of the paper), which
    helps users with few ratings.

    >>> ratings = Ratings.of("aabbcc", "xyxyxy", [5, 1, 4, 2, 5, 2])
    >>> bool(PMF(rank=1).fit(ratings).predict(["a"], ["x"])[0] > 3)
    True
    """

    name: ClassVar[str] = "pmf"
    invariance: ClassVar[Invariance] = "interval"
    prior: Literal["fixed", "weighted", "adaptive"] = "adaptive"
    ridge: float = 8.0
    bias_ridge: float = 4.0
    solver: Literal["als", "sgd"] = "als"
    constrained: bool = False
    epochs: int = 30
    learning_rate: float = 0.01

    def _fit(self, ratings: Ratings, start: Model | None, report: Report) -> None:
        with threads(self.threads):
            if self._descends():
                self._keep(*descend(self, ratings, start, report, self.constrained))
            else:
                self._alternate(ratings, start, report)

    def _descends(self) -> bool:
        """Return whether the model is fitted by SGD."""
        return self.solver == "sgd" or self.constrained

    def _remedy(self) -> str:
        if self._descends():
            return f"lower learning_rate, which is {self.learning_rate:g}"
        if self.prior == "adaptive":
            return "lower rank, or set prior=fixed with a ridge"
        return f"raise ridge, which is {self.ridge:g}, and bias_ridge, which is {self.bias_ridge:g}"

    def _alternate(self, ratings: Ratings, start: Model | None, report: Report) -> None:
        from imbik.recommend.kernels.gaussian import chunks, squared_error

        rng = np.random.default_rng(self.seed)
        mean = float(ratings.values.mean(dtype=np.float64))
        sides = ratings.by_user, ratings.by_item
        borders = [chunks(side.indptr, 16) for side in sides]
        dims = self.rank + self.biases
        rows = [initial_rows(self, ratings, side, dims, start, rng, 0.1) for side in ("users", "items")]
        priors = [Prior(self, dims, len(side.indptr) - 1) for side in sides]
        noise = start.facts_.get("noise", 1.0) if start else 1.0
        for epoch in range(self.epochs):
            for k in (0, 1):  # users given items, then items given users
                other = seen_through(rows[1 - k], mean, self.biases, priors[1 - k].variances)
                rows[k], failed = priors[k].solve(sides[k], borders[k], other, noise)
                if failed:
                    self._diverged(f"{failed} rows whose equations have no one solution")
            other = seen_through(rows[1], mean, self.biases, priors[1].variances)
            error = float(squared_error(borders[0], as_side(sides[0]), rows[0], priors[0].variances, tuple(other)))
            if self.prior == "adaptive":
                # The mode of a Gamma posterior over the precision, with a prior worth two ratings of error 1.
                noise = (len(ratings) + 2.0) / (error + 2.0)
            report(epoch + 1, self.epochs, float(np.sqrt(error / len(ratings))))
        self.facts_["noise"] = noise
        self._keep(users=rows[0], items=rows[1], mean=mean, biases=self.biases, cold=(priors[0].mean, priors[1].mean))


class Prior:
    """The Gaussian prior of one side during ALS: fixed, or re-estimated after each solve."""

    def __init__(self, model: PMF, dims: int, count: int) -> None:
        self.kind = model.prior
        self.mean = np.zeros(dims)
        self.precision = np.full(dims, model.ridge)
        if model.biases:
            self.precision[0] = model.bias_ridge
        self.variances = np.zeros((count, dims), np.float32) if self.kind == "adaptive" else NO_ROWS

    def solve(self, side: Compressed, borders: Array, other: Design, noise: float) -> tuple[Array, int]:
        """Return the most probable rows given the other side, and how many failed; an adaptive prior then fits itself to them."""
        from imbik.recommend.kernels.gaussian import gaussian_rows

        out = np.empty((len(side.indptr) - 1, len(self.mean)), np.float32)
        # A row is pulled to the mean of its side; with a fixed prior that is zero.
        given = (np.diag(self.precision), self.precision * self.mean, noise, self.kind == "weighted")
        failed = int(gaussian_rows(borders, as_side(side), tuple(other), given, NO_ROWS, out, self.variances))
        if self.kind == "adaptive" and not failed:
            self._adapt(out, np.diff(side.indptr) > 0)
        return out, failed

    def _adapt(self, rows: Array, rated: Array) -> None:
        """Set 1 / lambda_d to the mean of (x_d - mean_d)^2 + var_d over the rated rows, held off zero by a weak prior."""
        rows, variances = rows[rated].astype(np.float64), self.variances[rated].astype(np.float64)
        self.mean = rows.mean(axis=0)
        spread = ((rows - self.mean) ** 2 + variances).sum(axis=0)  # (D,)
        self.precision = (len(rows) + _WEAK_ROWS) / (spread + _WEAK_SPREAD)
