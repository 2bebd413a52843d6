"""The state of the Gibbs sampler and its normal-Wishart updates: the population of a side's rows given the rows, the rows given it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from imbik.recommend.data.ratings import Array


class Normal(NamedTuple):
    """N(mean, precision^-1) in D dimensions."""

    mean: Array
    precision: Array


class Chain(NamedTuple):
    """The state of the sampler: both sides (n, D), their priors, and the precision of an observation."""

    users: Array
    items: Array
    user_prior: Normal
    item_prior: Normal
    precision: float


class Hyper(NamedTuple):
    """mu | Lambda ~ N(mean, (beta Lambda)^-1), Lambda ~ Wishart(inverse_scale^-1, freedom)."""

    mean: Array
    beta: float
    inverse_scale: Array
    freedom: float


class Moments(NamedTuple):
    """What a population needs to know of its rows: their number, mean (D,) and sum of squares around it (D, D)."""

    number: int
    mean: Array
    scatter: Array


def moments(rows: Array) -> Moments:
    """Return the moments of rows (n, D), in float64."""
    rows = rows.astype(np.float64)
    center = rows.mean(axis=0) if len(rows) else np.zeros(rows.shape[1])
    spread = rows - center
    return Moments(len(rows), center, spread.T @ spread)


def posterior(rows: Array | Moments, prior: Hyper) -> Hyper:
    """Return the conjugate update of the prior by rows (n, D), or by their moments (Murphy 2007, section 8)."""
    count, center, scatter = rows if isinstance(rows, Moments) else moments(rows)
    if count == 0:
        return prior
    gap = prior.mean - center
    beta = prior.beta + count
    # Two sources of spread: of the rows around their center, and of that center around the prior's.
    inverse = prior.inverse_scale + scatter + prior.beta * count / beta * np.outer(gap, gap)  # (D, D)
    return Hyper((prior.beta * prior.mean + count * center) / beta, beta, inverse, prior.freedom + count)


def draw(rows: Array | Moments, prior: Hyper, rng: np.random.Generator) -> Normal:
    """Draw (mu, Lambda) given rows or their moments: Lambda by Bartlett's decomposition, mu from its conditional normal.

    >>> drawn = draw(np.zeros((100, 2)), Hyper(np.zeros(2), 1.0, np.eye(2), 2.0), np.random.default_rng(0))
    >>> drawn.precision.shape, bool(drawn.precision[0, 0] > 50)
    ((2, 2), True)
    """
    after = posterior(rows, prior)
    dims = len(after.mean)
    # A Wishart variable of scale C C' is (C A)(C A)' with A lower triangular: normals below the diagonal, chi on it.
    # The scale is the inverse of ``inverse_scale`` = L L', so C = L^-T: its inverse is never formed.
    root = np.linalg.inv(np.linalg.cholesky(after.inverse_scale)).T
    bartlett = np.tril(rng.standard_normal((dims, dims)), -1)
    # The k-th diagonal has ``freedom - k`` degrees of freedom; with the default freedom of D the last one has 1.
    bartlett[np.diag_indices(dims)] = np.sqrt(rng.chisquare(after.freedom - np.arange(dims)))
    factor = root @ bartlett
    precision = factor @ factor.T
    return Normal(sample(Normal(after.mean, after.beta * precision), rng), precision)


def sample(normal: Normal, rng: np.random.Generator) -> Array:
    """Draw one vector (D,) from N(mean, precision^-1)."""
    # With precision = L L', the vector L^-T noise has covariance L^-T L^-1 = precision^-1.
    lower = np.linalg.cholesky(normal.precision)
    drawn: Array = normal.mean + np.linalg.solve(lower.T, rng.standard_normal(len(normal.mean)))
    return drawn


def row_keys(rng: np.random.Generator) -> Array:
    """Draw the keys of a sweep's normal numbers, one a side; with the row they name each number, on whatever machine it is drawn."""
    return rng.integers(0, 2**64, 2, dtype=np.uint64)


def conditional(prior: Normal, alpha: float) -> tuple[Array, Array, float, bool]:
    """Return the kernels' P, h and scale: A = Lambda + alpha sum z z', b = Lambda mu + alpha sum z (r - m - c)."""
    return prior.precision, prior.precision @ prior.mean, float(alpha), False
