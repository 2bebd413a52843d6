"""Probabilistic matrix factorization: the most probable factors, by alternating least squares or by SGD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from imbik.errors import UserError
from imbik.recommend.cluster.place import Place
from imbik.recommend.data.ratings import Array, Compressed, Ratings
from imbik.recommend.data.scale import Invariance, Scale
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

    ``link="logistic"`` is the paper's own way to keep predictions between the lowest and the highest rating (its section 2):
    t = (r - low) / (high - low) ~ N(g(m + b_u + c_i + p_u . q_i), sigma^2), g(x) = 1 / (1 + exp(-x)), with m the logit of the mean of t;
    without biases m = 0, which is the paper's g(p_u . q_i). The error is counted in ratings, so that the ridges mean what they do without
    the link. It has no closed form and wants ``solver="sgd"``. The model ``logistic`` is another one, of events.

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
    link: Literal["identity", "logistic"] = "identity"

    def _check(self, ratings: Ratings) -> None:
        super()._check(ratings)
        if self.link == "logistic" and not self._descends():
            raise UserError(
                "rows have no closed form behind the logistic link, and alternating least squares needs it", where="pmf.link",
                found="solver=als", expected="solver=sgd", fix="give --set solver=sgd, or leave the link out",
            )  # fmt: skip

    def _fit(self, ratings: Ratings, start: Model | None, report: Report) -> None:
        if start is not None and start.settings["link"] != self.link:
            fix = f"give --set link={start.settings['link']}"
            raise UserError("the model to continue has another link", found=start.settings["link"], expected=self.link, fix=fix)
        with threads(self.threads):
            if self._descends():
                self._keep(*descend(self, ratings, start, report, self.constrained, self.link == "logistic"))
            else:
                self._alternate(ratings, start, report)

    def _descends(self) -> bool:
        """Return whether the model is fitted by SGD."""
        return self.solver == "sgd" or self.constrained

    def _pairs(self, users: Array, items: Array) -> Array:
        values = super()._pairs(users, items)
        if self.link == "identity":
            return values
        # float64: near the ends of the scale g leaves few digits
        low, high = self.range_
        mapped: Array = low + (high - low) / (1.0 + np.exp(-values.astype(np.float64)))
        return mapped.astype(np.float32)

    def _rescaled(self, factor: float) -> Model:
        # what stands inside of the logistic function has no unit
        return super()._rescaled(factor) if self.link == "identity" else self

    def _restore(self, scale: Scale) -> None:
        if self.link == "identity":
            super()._restore(scale)

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
        noise = _first_noise(start)
        for epoch in range(self.epochs):
            for k in (0, 1):  # users given items, then items given users
                other = seen_through(rows[1 - k], mean, self.biases, priors[1 - k].variances)
                rows[k], failed = priors[k].solve(sides[k], borders[k], other, noise)
                if failed:
                    self._diverged(f"{failed} rows whose equations have no one solution")
            other = seen_through(rows[1], mean, self.biases, priors[1].variances)
            error = float(squared_error(borders[0], as_side(sides[0]), rows[0], priors[0].variances, tuple(other)))
            noise = self._next_noise(noise, len(ratings), error)
            report(epoch + 1, self.epochs, float(np.sqrt(error / len(ratings))))
        self.facts_["noise"] = noise
        self._keep(users=rows[0], items=rows[1], mean=mean, biases=self.biases, cold=(priors[0].mean, priors[1].mean))

    def check_sharding(self) -> None:
        """Refuse SGD.

        Raises:
            UserError: each of its steps needs both rows where the step before left them.
        """
        if self._descends():
            raise UserError(
                "SGD changes the rows of both sides with every rating, and needs them in one memory", where="--ray",
                found="constrained=True" if self.constrained else "solver=sgd", expected="solver=als",
                fix="give --set solver=als, or leave out --ray",
            )  # fmt: skip

    def _fit_on(self, place: Place, ratings: Ratings, start: Model | None, report: Report) -> None:
        from imbik.recommend.cluster.shards import sharded
        from imbik.recommend.cluster.worker import Given

        rng = np.random.default_rng(self.seed)
        mean = float(ratings.values.mean(dtype=np.float64))
        dims = self.rank + self.biases
        _, items = (initial_rows(self, ratings, side, dims, start, rng, 0.1) for side in ("users", "items"))
        # The variances of the users are with the workers, like their rows.
        user_prior, item_prior = Prior(self, dims, 0), Prior(self, dims, len(items))
        noise = _first_noise(start)
        with sharded(place, ratings.by_user, len(items), self.threads) as shards:
            for epoch in range(self.epochs):
                statistics, users = shards.draw(Given(items, item_prior.variances, mean, self.biases, user_prior.given(noise)))
                if self.prior == "adaptive":
                    count, center, scatter = users.moments
                    user_prior.adapt(count, center, np.diag(scatter) + users.variances)
                # a new array: the old one must stay what the users were solved from, in case a worker has to repeat it
                item_prior.variances = np.zeros_like(item_prior.variances)
                items = shards.items(statistics, item_prior.given(noise), None, item_prior.variances)
                if self.prior == "adaptive":
                    item_prior.adapt_to(items, shards.counts > 0)
                error = shards.squared_error(items, item_prior.variances)
                noise = self._next_noise(noise, len(ratings), error)
                report(epoch + 1, self.epochs, float(np.sqrt(error / len(ratings))))
            users_rows = shards.users()
        self.facts_["noise"] = noise
        self._keep(users=users_rows, items=items, mean=mean, biases=self.biases, cold=(user_prior.mean, item_prior.mean))

    def _next_noise(self, noise: float, count: int, error: float) -> float:
        """Return the precision of the noise after a pass."""
        # The mode of a Gamma posterior over the precision, with a prior worth two ratings of error 1.
        return (count + 2.0) / (error + 2.0) if self.prior == "adaptive" else noise


def _first_noise(start: Model | None) -> float:
    """Return the precision of the noise to begin with: that of the model that is continued, or 1."""
    return start.facts_.get("noise", 1.0) if start else 1.0


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
        failed = int(gaussian_rows(borders, as_side(side), tuple(other), self.given(noise), NO_ROWS, out, self.variances))
        if self.kind == "adaptive" and not failed:
            self.adapt_to(out, np.diff(side.indptr) > 0)
        return out, failed

    def given(self, noise: float) -> tuple[Array, Array, float, bool]:
        """Return the prior as the kernels take it: P, h, the precision of the noise, and whether P and h count for each rating."""
        # A row is pulled to the mean of its side; with a fixed prior that is zero.
        return np.diag(self.precision), self.precision * self.mean, noise, self.kind == "weighted"

    def adapt_to(self, rows: Array, rated: Array) -> None:
        """Fit the prior to the rated rows and their variances."""
        rows, variances = rows[rated].astype(np.float64), self.variances[rated].astype(np.float64)
        mean = rows.mean(axis=0)
        self.adapt(len(rows), mean, ((rows - mean) ** 2 + variances).sum(axis=0))

    def adapt(self, count: int, mean: Array, spread: Array) -> None:
        """Set 1 / lambda_d to the mean of (x_d - mean_d)^2 + var_d, whose sum over so many rows is given, held off zero by a weak prior."""
        self.mean = mean
        self.precision = (count + _WEAK_ROWS) / (spread + _WEAK_SPREAD)
