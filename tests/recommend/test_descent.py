"""The compiled steps of SGD and of logistic PMF against the formulas in plain NumPy, row by row."""

from __future__ import annotations

import numpy as np
import pytest

from imbik.recommend.data.ratings import Array, Ratings
from imbik.recommend.kernels.gaussian import chunks, padded
from imbik.recommend.kernels.implicit import logistic_rows
from imbik.recommend.kernels.sgd import BLOCKS, constrained_epoch, sgd_epoch, stratify
from imbik.recommend.models.factors import NO_WEIGHTS

RATE, BIAS_RIDGE, RIDGE, MEAN = 0.05, 0.3, 0.2, 3.1
RATES = tuple(np.float32(value) for value in (RATE, BIAS_RIDGE, RIDGE, MEAN, 1.0))


def data(users: int = 12, items: int = 9, seed: int = 0) -> Ratings:
    rng = np.random.default_rng(seed)
    user, item = np.nonzero(rng.random((users, items)) < 0.6)
    return Ratings.of(user, item, rng.integers(1, 6, len(user)))


def sides(ratings: Ratings, rank: int, seed: int = 1) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return tuple((0.5 * rng.standard_normal((count, 1 + rank))).astype(np.float32) for count in ratings.shape)  # type: ignore[return-value]


@pytest.mark.parametrize("biased", [1.0, 0.0])
def test_an_epoch_of_sgd_takes_each_rating_once_as_the_formula_says(biased: float) -> None:
    ratings = data()
    left, right = sides(ratings, 3)
    p, q = left.astype(np.float64), right.astype(np.float64)
    users, items, values, borders = stratify(ratings, np.random.default_rng(2))
    diagonals = np.random.default_rng(3).permutation(BLOCKS)
    rates = (*RATES[:4], np.float32(biased))
    error = sgd_epoch((users, items, values), borders, diagonals, (left, right), rates)
    total = 0.0
    order = [row for d in diagonals for row in range(borders[d * BLOCKS], borders[(d + 1) * BLOCKS])]
    assert sorted(order) == list(range(len(ratings)))
    for row in order:
        u, i = users[row], items[row]
        e = values[row] - MEAN - p[u, 0] - q[i, 0] - p[u, 1:] @ q[i, 1:]
        total += e**2
        old_p, old_q = p[u].copy(), q[i].copy()  # both sides step from where the other one was
        p[u, 0] += biased * RATE * (e - BIAS_RIDGE * old_p[0])
        q[i, 0] += biased * RATE * (e - BIAS_RIDGE * old_q[0])
        p[u, 1:] += RATE * (e * old_q[1:] - RIDGE * old_p[1:])
        q[i, 1:] += RATE * (e * old_p[1:] - RIDGE * old_q[1:])
    np.testing.assert_allclose(left, p, atol=1e-5)
    np.testing.assert_allclose(right, q, atol=1e-5)
    assert error == pytest.approx(total, rel=1e-5)


def test_blocks_of_a_diagonal_share_neither_a_user_nor_an_item() -> None:
    users, items, _, borders = stratify(data(60, 50), np.random.default_rng(0))
    for diagonal in range(BLOCKS):
        blocks = [slice(borders[diagonal * BLOCKS + b], borders[diagonal * BLOCKS + b + 1]) for b in range(BLOCKS)]
        for side in (users, items):
            members = [set(side[block].tolist()) for block in blocks]
            assert sum(map(len, members)) == len(set().union(*members))


def test_an_epoch_of_constrained_pmf_follows_section_4_of_the_paper() -> None:
    """p_u + mean of w_j; the gradient of the traits is summed over a user's ratings, times 1 / n for each of its items."""
    ratings = data()
    left, right = sides(ratings, 3)
    traits = (0.3 * np.random.default_rng(4).standard_normal((ratings.shape[1], 3))).astype(np.float32)
    p, q, w = (side.astype(np.float64) for side in (left, right, traits))
    by_user = ratings.by_user
    order = np.random.default_rng(5).permutation(ratings.shape[0])
    error = constrained_epoch(order, (by_user.indptr, by_user.indices, by_user.values), (left, right), traits, RATES)
    total = 0.0
    for u in order:
        rated = by_user.indices[by_user.indptr[u] : by_user.indptr[u + 1]]
        values = by_user.values[by_user.indptr[u] : by_user.indptr[u + 1]]
        whole, slope = w[rated].mean(axis=0), np.zeros(3)
        for i, value in zip(rated, values, strict=True):
            e = value - MEAN - p[u, 0] - q[i, 0] - (p[u, 1:] + whole) @ q[i, 1:]
            total += e**2
            old_p, old_q = p[u].copy(), q[i].copy()
            p[u, 0] += RATE * (e - BIAS_RIDGE * old_p[0])
            q[i, 0] += RATE * (e - BIAS_RIDGE * old_q[0])
            p[u, 1:] += RATE * (e * old_q[1:] - RIDGE * old_p[1:])
            q[i, 1:] += RATE * (e * (old_p[1:] + whole) - RIDGE * old_q[1:])
            slope += e * old_q[1:]
        w[rated] += RATE * (slope / len(rated) - RIDGE * w[rated])
    for found, expected in ((left, p), (right, q), (traits, w)):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert error == pytest.approx(total, rel=1e-5)


def newton(
    z: Array, happened: Array, weights: Array, offset: Array, x: Array, own: float, ridges: tuple[float, float]
) -> tuple[Array, float]:
    """The Newton step of (x, own) on sum w (y log s + (1 - y) log(1 - s)) - ridges / 2 |.|^2, in float64."""
    design = np.column_stack([z, np.ones(len(z))]).astype(np.float64)
    chance = 1 / (1 + np.exp(-(design @ np.append(x, own) + offset)))
    penalty = np.append(np.full(len(x), ridges[0]), ridges[1])
    gradient = design.T @ (weights * (happened - chance)) - penalty * np.append(x, own)
    hessian = (design.T * (weights * chance * (1 - chance))) @ design + np.diag(penalty)
    step = np.linalg.solve(hessian, gradient)
    return step[:-1], float(step[-1])


@pytest.mark.parametrize("length", [1.0, 0.5])
def test_a_logistic_step_is_newtons_step_of_row_and_bias(length: float) -> None:
    """With one code to draw from, the non-events of a row are known: ``draws`` copies of it."""
    rng = np.random.default_rng(0)
    items, rank, per_event, per_row = 20, 5, 2, 3
    counts = [0, 1, 4, 200]
    indptr = np.append(0, np.cumsum(counts))
    indices = rng.integers(0, items, indptr[-1]).astype(np.int32)
    weights = (1 + rng.random(indptr[-1])).astype(np.float32)
    design, offset = rng.standard_normal((items, rank)).astype(np.float32), rng.standard_normal(items).astype(np.float32)
    rows, biases = rng.standard_normal((4, rank)).astype(np.float32), rng.standard_normal(4).astype(np.float32)
    before, own = rows.copy(), biases.copy()
    pool = np.array([7], np.int32)
    ridges = (1.5, 0.7)
    failed = logistic_rows(
        chunks(indptr, 16), (indptr, indices, weights), (padded(design), offset), (pool, per_event, per_row, np.float32(0.9), 11),
        (np.float32(ridges[0]), np.float32(ridges[1]), np.float32(length)), rows, biases,
    )  # fmt: skip
    assert failed == 0
    for row, count in enumerate(counts):
        drawn = count * per_event + per_row
        columns = np.append(indices[indptr[row] : indptr[row + 1]], np.full(drawn, 7))
        happened = np.append(np.ones(count), np.zeros(drawn))
        weight = np.append(weights[indptr[row] : indptr[row + 1]], np.full(drawn, np.float32(0.9)))
        step, bias_step = newton(design[columns], happened, weight, offset[columns], before[row], float(own[row]), ridges)
        np.testing.assert_allclose(rows[row], before[row] + length * step, rtol=2e-3, atol=2e-3)
        assert biases[row] == pytest.approx(own[row] + length * bias_step, rel=2e-3, abs=2e-3)


def test_a_logistic_step_without_biases_moves_the_factors_alone() -> None:
    rng = np.random.default_rng(1)
    design, offset = rng.standard_normal((6, 3)).astype(np.float32), np.zeros(6, np.float32)
    indptr, indices = np.array([0, 4]), np.array([0, 1, 2, 3], np.int32)
    rows = rng.standard_normal((1, 3)).astype(np.float32)
    before = rows[0].astype(np.float64)
    side = (indptr, indices, np.ones(4, np.float32))
    sampling = (np.array([5], np.int32), 0, 2, np.float32(1.0), 3)
    logistic_rows(chunks(indptr, 16), side, (padded(design), offset), sampling, (np.float32(1.0),) * 3, rows, NO_WEIGHTS)
    z = design[[0, 1, 2, 3, 5, 5]].astype(np.float64)
    happened = np.array([1, 1, 1, 1, 0, 0])
    chance = 1 / (1 + np.exp(-z @ before))
    expected = before + np.linalg.solve((z.T * (chance * (1 - chance))) @ z + np.eye(3), z.T @ (happened - chance) - before)
    np.testing.assert_allclose(rows[0], expected, atol=1e-3)


def drawn_by(rows: int, pool: int, per_row: int, seed: int) -> Array:
    """How often each row drew each code, (rows, pool): code j adds to coordinate j alone, and every row starts at zero."""
    indptr = np.zeros(rows + 1, np.int64)
    design = np.eye(pool, dtype=np.float32)
    factors = np.zeros((rows, pool), np.float32)
    side = (indptr, np.zeros(0, np.int32), np.zeros(0, np.float32))
    sampling = (np.arange(pool, dtype=np.int32), 0, per_row, np.float32(1.0), seed)
    rates = (np.float32(1.0),) * 3
    logistic_rows(chunks(indptr, 16), side, (padded(design), np.zeros(pool, np.float32)), sampling, rates, factors, NO_WEIGHTS)
    # The step of a coordinate that was drawn n times from chance 1/2 is -(n / 2) / (n / 4 + 1).
    step = -factors.astype(np.float64)
    return np.round(step / (0.5 - 0.25 * step))


def test_non_events_are_drawn_apart_for_each_row_uniformly_and_anew_for_each_seed() -> None:
    counts = drawn_by(rows=400, pool=8, per_row=20, seed=5)
    assert (counts.sum(axis=1) == 20).all()
    assert len({tuple(row) for row in counts.tolist()}) > 390  # equal draws of all rows would give one
    from scipy.stats import chisquare

    assert chisquare(counts.sum(axis=0)).pvalue > 1e-3
    assert chisquare(np.bincount(counts[:, 0].astype(int), minlength=9)[:6], f_exp=None).pvalue < 1e-3  # and not evenly spread
    assert (drawn_by(rows=400, pool=8, per_row=20, seed=6) != counts).any()
