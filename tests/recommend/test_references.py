"""Whole fits against plain NumPy and SciPy: the formulas of the docstrings, dense and slow, in float64."""

from __future__ import annotations

import numpy as np
import pytest

from imbik.recommend.data.ratings import Array, Ratings
from imbik.recommend.data.scale import scale_of
from imbik.recommend.models.baselines import fit_biases
from imbik.recommend.models.bayesian import BayesianPMF
from imbik.recommend.models.factors import initial_rows
from imbik.recommend.models.knn import ItemKNN
from imbik.recommend.models.logistic import LogisticPMF
from imbik.recommend.models.nmf import NMF
from imbik.recommend.models.pmf import PMF
from imbik.recommend.models.svd import TruncatedSVD
from imbik.recommend.models.weighted import WeightedALS


def dense(ratings: Ratings) -> tuple[Array, Array]:
    """The matrix with zeros in empty cells, and where it is filled."""
    full, filled = np.zeros(ratings.shape), np.zeros(ratings.shape, bool)
    full[ratings.users, ratings.items] = ratings.values
    filled[ratings.users, ratings.items] = True
    return full, filled


def small(seed: int = 0, users: int = 14, items: int = 11) -> Ratings:
    rng = np.random.default_rng(seed)
    user, item = np.nonzero(rng.random((users, items)) < 0.5)
    return Ratings.of([f"u{u}" for u in user], [f"i{i}" for i in item], rng.integers(1, 6, len(user)))


def expected_predictions(users: Array, items: Array, mean: float, unit: float) -> Array:
    """mean + unit (b_u + c_i + p_u . q_i) from rows with the bias first."""
    return mean + unit * (users[:, :1] + items[:, 0] + users[:, 1:] @ items[:, 1:].T)


def everything(ratings: Ratings) -> tuple[list[str], list[str]]:
    users, items = ratings.user_ids.tolist(), ratings.item_ids.tolist()
    return [u for u in users for _ in items], items * len(users)


def test_biases_solve_their_normal_equations() -> None:
    ratings = small()
    user_ridge, item_ridge = 2.5, 0.7
    mean, b, c = fit_biases(ratings, user_ridge, item_ridge, epochs=200)
    users, items = ratings.shape
    design = np.zeros((len(ratings), users + items))
    design[np.arange(len(ratings)), ratings.users] = 1
    design[np.arange(len(ratings)), users + ratings.items] = 1
    penalty = np.diag([user_ridge] * users + [item_ridge] * items)
    solution = np.linalg.solve(design.T @ design + penalty, design.T @ (ratings.values - ratings.values.mean(dtype=np.float64)))
    np.testing.assert_allclose(np.append(b, c), solution, atol=1e-8)
    assert mean == pytest.approx(ratings.values.mean())


@pytest.mark.parametrize("prior", ["fixed", "weighted", "adaptive"])
def test_pmf_alternates_exact_solutions_under_its_prior(prior: str) -> None:
    ratings, epochs, rank = small(), 4, 2
    model = PMF(rank=rank, prior=prior, ridge=1.3, bias_ridge=0.6, epochs=epochs)  # type: ignore[arg-type]
    scale = scale_of(ratings, "interval")
    z, filled = dense(scale.standardize(ratings))
    rng = np.random.default_rng(model.seed)
    rows = [initial_rows(model, ratings, side, 1 + rank, None, rng, 0.1).astype(np.float64) for side in ("users", "items")]
    precision = [np.array([0.6, 1.3, 1.3]) for _ in range(2)]
    center = [np.zeros(1 + rank) for _ in range(2)]
    variances = [np.zeros_like(side) for side in rows]
    noise = 1.0
    for _ in range(epochs):
        for k in (0, 1):
            matrix, mask = (z, filled) if k == 0 else (z.T, filled.T)
            for row in range(len(rows[k])):
                seen = mask[row]
                design, spread = rows[1 - k][seen].copy(), variances[1 - k][seen].copy()
                offset = design[:, 0].copy()
                design[:, 0], spread[:, 0] = 1.0, 0.0
                ridge = max(seen.sum(), 1) if prior == "weighted" else 1.0
                a = noise * (design.T @ design + np.diag(spread.sum(axis=0))) + ridge * np.diag(precision[k])
                b = noise * design.T @ (matrix[row, seen] - offset) + ridge * precision[k] * center[k]
                rows[k][row] = np.linalg.solve(a, b)
                if prior == "adaptive":
                    variances[k][row] = np.diag(np.linalg.inv(a))
            if prior == "adaptive":
                center[k] = rows[k].mean(axis=0)
                around = ((rows[k] - center[k]) ** 2 + variances[k]).sum(axis=0)
                precision[k] = (len(rows[k]) + 2.0) / (around + 0.02)
        if prior == "adaptive":
            x, y, vx, vy = rows[0], rows[1].copy(), variances[0], variances[1].copy()
            offset, y[:, 0], vy[:, 0] = y[:, 0].copy(), 1.0, 0.0
            square = (z - offset - x @ y.T) ** 2 + x**2 @ vy.T + vx @ (y**2 + vy).T
            noise = (filled.sum() + 2.0) / (square[filled].sum() + 2.0)
    model.fit(ratings)
    expected = expected_predictions(rows[0], rows[1], scale.center, scale.unit)
    np.testing.assert_allclose(model.predict(*everything(ratings)), np.clip(expected, 1, 5).ravel(), atol=2e-3)
    assert model.facts_["noise"] * scale.unit**2 == pytest.approx(noise, rel=1e-3)


def test_nmf_minimizes_its_objective_under_its_constraints() -> None:
    """After many passes each row solves its own problem: no free coordinate has a slope, none at zero a negative one."""
    ratings, ridge, bias_ridge = small(1), 0.8, 0.5
    model = NMF(rank=2, ridge=ridge, bias_ridge=bias_ridge, epochs=400, steps=10).fit(ratings)
    unit = scale_of(ratings, "ratio").unit
    root = np.sqrt(unit)
    users, items = (
        np.column_stack([side[:-1, :1] / unit, side[:-1, 1:] / root]).astype(np.float64)
        for side in (model.arrays_["users"], model.arrays_["items"])
    )
    z, filled = dense(ratings)
    error = np.where(filled, z / unit - expected_predictions(users, items, 0.0, 1.0), 0.0)
    penalty = np.array([bias_ridge, ridge, ridge])
    for side, other, rest in ((users, items, error), (items, users, error.T)):
        design = np.column_stack([np.ones(len(other)), other[:, 1:]])
        slope = -rest @ design + penalty * (side - side.mean(axis=0))
        assert (side >= 0).all() and (side == 0).any()
        assert np.abs(slope[side > 1e-6]).max() < 2e-2 and slope[side <= 1e-6].min() > -2e-2


def test_truncated_svd_fills_empty_cells_with_its_prediction() -> None:
    ratings, rank = small(2), 3
    mean, b, c = fit_biases(ratings, 5.0, 5.0)
    full, filled = dense(ratings)
    base = mean + b[:, None] + c
    guess = np.zeros(ratings.shape)
    for fill in range(3):
        matrix = np.where(filled, full - base, guess)
        u, s, vt = np.linalg.svd(matrix)
        guess = (u[:, :rank] * s[:rank]) @ vt[:rank]
        model = TruncatedSVD(rank=rank, fill=fill).fit(ratings)
        np.testing.assert_allclose(model.predict(*everything(ratings)), np.clip(base + guess, 1, 5).ravel(), atol=1e-4)


@pytest.mark.parametrize("implicit", [False, True])
def test_item_knn_is_the_formula_of_its_docstring(implicit: bool) -> None:
    import dataclasses

    ratings = dataclasses.replace(small(3), implicit=implicit)
    shrink, shrink_weights, neighbors = 3.0, 0.4, 4
    model = ItemKNN(neighbors=neighbors, shrink=shrink, shrink_weights=shrink_weights).fit(ratings)
    full, filled = dense(ratings)
    mean, b, c = (0.0, np.zeros(ratings.shape[0]), np.zeros(ratings.shape[1])) if implicit else fit_biases(ratings, 4.0, 3.0)
    base = mean + b[:, None] + c
    rest = np.where(filled, full - base, 0.0)
    norms = np.sqrt((rest**2).sum(axis=0))
    together = filled.T.astype(float) @ filled
    similar = rest.T @ rest / np.outer(norms, norms) * together / (together + shrink)
    np.fill_diagonal(similar, 0.0)
    for item in range(len(similar)):
        similar[item, np.argsort(-np.abs(similar[item]))[neighbors:]] = 0.0
    total = rest @ similar.T
    expected = total if implicit else base + total / (filled @ np.abs(similar).T + shrink_weights)
    np.testing.assert_allclose(model.scores(np.arange(ratings.shape[0])), expected, atol=1e-4)


@pytest.mark.parametrize("alpha", [0.0, 5.0])
def test_weighted_als_alternates_exact_solutions(alpha: float) -> None:
    ratings = small(4)
    rank, ridge, epochs = 2, 0.9, 5
    model = WeightedALS(rank=rank, alpha=alpha, ridge=ridge, epochs=epochs, conjugate_steps=0).fit(ratings)
    counts, filled = dense(ratings)
    confidence = 1 + alpha * counts / np.median(ratings.values)
    rng = np.random.default_rng(0)
    rows = [initial_rows(model, ratings, side, rank, None, rng, 0.1).astype(np.float64) for side in ("users", "items")]
    for _ in range(epochs):
        for k in (0, 1):
            c, y = (confidence, filled) if k == 0 else (confidence.T, filled.T)
            other = rows[1 - k]
            rows[k] = np.array(
                [np.linalg.solve((other.T * w) @ other + ridge * np.eye(rank), other.T @ (w * want)) for w, want in zip(c, y, strict=True)]
            )
    np.testing.assert_allclose(model.scores(np.arange(ratings.shape[0])), rows[0] @ rows[1].T, atol=1e-3)


def test_events_of_logistic_pmf_weigh_by_the_logarithm_of_their_count() -> None:
    weights = LogisticPMF(alpha=2.0).event_weights(np.array([1, 3, 3, 12], np.float32))
    assert weights.tolist() == pytest.approx([1.0, 1.0, 1.0, 1 + 2 * np.log(4)])


def test_intervals_are_quantiles_of_the_mixture_of_samples() -> None:
    from scipy import stats

    ratings = small(5)
    model = BayesianPMF(rank=2, burn_in=5, samples=40).fit(ratings)
    means, deviations = model.samples_for(np.array([0, 3]), np.array([1, 2]))
    for level in (0.5, 0.9):
        low, high = model.interval_codes(np.array([0, 3]), np.array([1, 2]), level).T
        for bound, chance in ((low, (1 - level) / 2), (high, (1 + level) / 2)):
            np.testing.assert_allclose(stats.norm.cdf(bound[:, None], means, deviations).mean(axis=1), chance, atol=1e-5)


def test_a_first_sweep_of_the_sampler_draws_its_noise_from_the_conditional() -> None:
    """Gamma(shape + n / 2, rate + error / 2): over many draws the mean precision times the rate is the shape."""
    from imbik.recommend.models.bayesian import Chain, prepare
    from imbik.recommend.models.wishart import Normal

    ratings = small(6)
    model = BayesianPMF(rank=1, noise_shape=3.0, noise_rate=2.0, threads=1)
    data, rng = prepare(ratings), np.random.default_rng(0)
    start = Normal(np.zeros(2), np.eye(2))
    rows = [np.zeros((count, 2), np.float32) for count in ratings.shape]
    ratios = []
    for _ in range(3000):
        chain, error = model.sweep(Chain(rows[0], rows[1], start, start, 1.0), data, rng)
        ratios.append(chain.precision * (2.0 + error / 2) / (3.0 + len(ratings) / 2))
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.02)
