"""The compiled steps of SGD and of logistic PMF against the formulas in plain NumPy, row by row."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imbik.errors import UserError
from imbik.recommend.data.ratings import Array, Ratings
from imbik.recommend.data.splits import random_split
from imbik.recommend.kernels.gaussian import chunks, padded
from imbik.recommend.kernels.implicit import logistic_rows
from imbik.recommend.kernels.sgd import BLOCKS, IDENTITY, constrained_epoch, sgd_epoch, stratify
from imbik.recommend.models.factors import NO_WEIGHTS
from imbik.recommend.models.pmf import PMF
from imbik.recommend.models.registry import load

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
    error = sgd_epoch((users, items, values), borders, diagonals, (left, right), rates, IDENTITY)
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
    error = constrained_epoch(order, (by_user.indptr, by_user.indices, by_user.values), (left, right), traits, RATES, IDENTITY)
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


def g(x: Array) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def half_square(x: Array, low: float, high: float, target: float) -> float:
    """What one rating adds to the objective of Salakhutdinov & Mnih (2007), in ratings: (high - low)^2 / 2 (t(r) - g(x))^2."""
    t = (target - low) / (high - low)
    return float((high - low) ** 2 / 2 * (t - g(x)) ** 2)


@pytest.mark.parametrize("biased", [1.0, 0.0])
def test_a_step_behind_the_logistic_link_goes_down_the_gradient_of_the_papers_objective(biased: float) -> None:
    """The gradient is taken by central differences of the objective of each rating, in float64."""
    low, high, mean = 1.0, 5.0, 0.4
    ratings = data()
    left, right = sides(ratings, 3)
    if not biased:
        left[:, 0] = right[:, 0] = 0.0
    p, q = left.astype(np.float64), right.astype(np.float64)
    users, items, values, borders = stratify(ratings, np.random.default_rng(2))
    rates = tuple(np.float32(value) for value in (RATE, BIAS_RIDGE, RIDGE, mean, biased))
    link = np.float32(low), np.float32(high - low)
    error = sgd_epoch((users, items, values), borders, np.arange(BLOCKS), (left, right), rates, link)
    total, tiny, ridges = 0.0, 1e-6, np.array([BIAS_RIDGE, RIDGE, RIDGE, RIDGE])
    for u, i, value in zip(users, items, values, strict=True):

        def objective(both: Array, value: float = value) -> float:
            a, b = both[:4], both[4:]
            return half_square(mean + a[0] + b[0] + a[1:] @ b[1:], low, high, value)

        both = np.append(p[u], q[i])
        total += 2 * objective(both)
        slopes = np.array([(objective(both + tiny * e) - objective(both - tiny * e)) / (2 * tiny) for e in np.eye(8)])
        moves = np.append(1.0, np.ones(3))
        moves[0] = biased
        p[u] -= RATE * moves * (slopes[:4] + ridges * both[:4])
        q[i] -= RATE * moves * (slopes[4:] + ridges * both[4:])
    np.testing.assert_allclose(left, p, atol=2e-5)
    np.testing.assert_allclose(right, q, atol=2e-5)
    assert error == pytest.approx(total, rel=1e-5)


def test_constrained_pmf_behind_the_logistic_link_is_the_step_without_it_times_the_slope() -> None:
    """One user with one rating: traits and rows move by the error times the slope of the link."""
    low, high = 1.0, 5.0
    p, q, w = np.array([[0.1, 0.3, -0.2]]), np.array([[0.2, -0.4, 0.5]]), np.array([[0.6, -0.1]])
    left, right, traits = p.astype(np.float32), q.astype(np.float32), w.astype(np.float32)
    rates = tuple(np.float32(value) for value in (RATE, BIAS_RIDGE, RIDGE, 0.4, 1.0))
    by_user = np.array([0, 1]), np.array([0], np.int32), np.array([4.0], np.float32)
    constrained_epoch(np.array([0]), by_user, (left, right), traits, rates, (np.float32(low), np.float32(high - low)))
    share = float(g(np.array(0.4 + 0.1 + 0.2 + (p[0, 1:] + w[0]) @ q[0, 1:])))
    e = (4.0 - low - (high - low) * share) * (high - low) * share * (1 - share)
    np.testing.assert_allclose(left[0, 1:], p[0, 1:] + RATE * (e * q[0, 1:] - RIDGE * p[0, 1:]), atol=1e-6)
    np.testing.assert_allclose(right[0, 1:], q[0, 1:] + RATE * (e * (p[0, 1:] + w[0]) - RIDGE * q[0, 1:]), atol=1e-6)
    np.testing.assert_allclose(traits[0], w[0] + RATE * (e * q[0, 1:] - RIDGE * w[0]), atol=1e-6)
    assert left[0, 0] == pytest.approx(0.1 + RATE * (e - BIAS_RIDGE * 0.1), abs=1e-6)


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


def bounded(seed: int = 0) -> Ratings:
    """Ratings 1..5 that the logistic model itself has made, many at the ends of the scale."""
    rng = np.random.default_rng(seed)
    x = 0.5 + rng.standard_normal((80, 2)) @ (1.2 * rng.standard_normal((2, 50)))
    user, item = np.nonzero(rng.random(x.shape) < 0.4)
    noisy = 1 + 4 * g(x[user, item]) + 0.3 * rng.standard_normal(len(user))
    return Ratings.of(user, item, np.clip(np.round(noisy), 1, 5))


@pytest.mark.parametrize("more", [{}, {"biases": False}, {"constrained": True}])
def test_the_logistic_link_learns_what_it_made_and_stays_inside_the_scale(more: dict[str, bool]) -> None:
    ratings = bounded()
    train, test = random_split(ratings, 0.2, 0)
    settings = {"rank": 2, "solver": "sgd", "prior": "fixed", "ridge": 1.0, "bias_ridge": 1.0, "epochs": 200, "learning_rate": 0.05}
    model = PMF(**settings, link="logistic", **more).fit(train)  # type: ignore[arg-type]
    raw = model._pairs(*model.align(ratings))
    assert raw.min() >= 1 and raw.max() <= 5 and raw.max() > 4.8  # before any clipping
    error = float(np.sqrt(np.mean((model.predict_for(test) - test.values) ** 2)))
    assert error < 0.65
    if not more:  # the line that the other link draws is bent at the ends of the scale
        other = PMF(**settings).fit(train).predict_for(test)  # type: ignore[arg-type]
        assert error < float(np.sqrt(np.mean((other - test.values) ** 2)))
    # without biases the prediction is the paper's formula, out of what is stored
    if more == {"biases": False}:
        left, right = model.arrays_["users"][:-1, 1:].astype(np.float64), model.arrays_["items"][:-1, 1:].astype(np.float64)
        users, items = model.align(ratings)
        np.testing.assert_allclose(raw, 1 + 4 * g((left @ right.T)[users, items]), atol=1e-5)
        assert model.facts_["mean"] == 0.0


def test_the_logistic_link_needs_no_unit_and_survives_its_folder(tmp_path: Path) -> None:
    ratings = bounded()
    settings = {"rank": 2, "solver": "sgd", "link": "logistic", "epochs": 20}
    model = PMF(**settings).fit(ratings)  # type: ignore[arg-type]
    percent = PMF(**settings).fit(replace(ratings, values=(ratings.values - 1) * 25))  # type: ignore[arg-type]
    np.testing.assert_allclose(percent.predict_for(ratings), (model.predict_for(ratings) - 1) * 25, atol=0.05)
    model.save(tmp_path / "model")
    assert np.array_equal(load(tmp_path / "model").predict_for(ratings), model.predict_for(ratings))
    again = PMF(**settings).fit(ratings, start=model)  # type: ignore[arg-type]
    assert np.mean((again.predict_for(ratings) - ratings.values) ** 2) < np.mean((model.predict_for(ratings) - ratings.values) ** 2)


def test_what_the_logistic_link_cannot_is_refused_with_its_reason() -> None:
    ratings = bounded()
    with pytest.raises(UserError, match=r"pmf\.link: rows have no closed form behind the logistic link"):
        PMF(rank=2, link="logistic").fit(ratings)
    with pytest.raises(UserError, match="unknown link"):
        PMF(rank=2, link="probit").fit(ratings)  # type: ignore[arg-type]
    start = PMF(rank=2, epochs=2).fit(ratings)
    with pytest.raises(UserError, match="the model to continue has another link"):
        PMF(rank=2, solver="sgd", link="logistic").fit(ratings, start=start)
