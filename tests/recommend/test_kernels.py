"""The compiled engine against plain NumPy, at sizes around the borders of its tiles and blocks."""

from __future__ import annotations

import numpy as np
import pytest

from imbik.recommend.data.ratings import Array, compress
from imbik.recommend.kernels.gaussian import chunks, gaussian_rows, nonnegative_rows, padded, squared_error
from imbik.recommend.kernels.implicit import conjugate_rows
from imbik.recommend.kernels.predict import mixture_quantiles, ranks
from imbik.recommend.models.factors import NO_ROWS, NO_WEIGHTS

RNG = np.random.default_rng(0)


def problem(dims: int, counts: list[int], weighted: bool) -> tuple[tuple[Array, Array, Array, Array], Array, Array]:
    rows = np.repeat(np.arange(len(counts)), counts)
    columns = np.concatenate([RNG.permutation(700)[:n] for n in counts])
    indptr, indices, values = compress(rows, columns, RNG.standard_normal(len(rows)), len(counts))
    weights = RNG.random(len(values)).astype(np.float32) + 0.5 if weighted else NO_WEIGHTS
    design, offset = (RNG.standard_normal(s).astype(np.float32) for s in ((700, dims), (700,)))
    return (indptr, indices, values, weights), design, offset


def normal_equations(row: int, side: tuple[Array, Array, Array, Array], design: Array, offset: Array, precision: Array, scale: float,
                     spread: Array, ridge: float = 1.0) -> tuple[Array, Array]:  # fmt: skip
    """A and b of one row in float64, straight from the formula."""
    indptr, indices, values, weights = side
    part = slice(indptr[row], indptr[row + 1])
    z = design[indices[part]].astype(np.float64)
    w = weights[part] if len(weights) else np.ones(len(z))
    a = ridge * precision + scale * (z.T * w) @ z
    if len(spread):
        a += scale * np.diag((w[:, None] * spread[indices[part]]).sum(axis=0))
    return a, scale * z.T @ (w * (values[part] - offset[indices[part]]))


@pytest.mark.parametrize("dims", [1, 7, 8, 11, 16, 17, 33])
@pytest.mark.parametrize("weighted", [False, True])
def test_rows_are_solved_and_sampled_exactly(dims: int, weighted: bool) -> None:
    counts = [0, 1, 3, 4, 5, 255, 256, 257, 600]
    side, design, offset = problem(dims, counts, weighted)
    spread = RNG.random((700, dims)).astype(np.float32) if weighted else NO_ROWS
    precision = np.eye(dims) * 2 + 0.1
    shift, scale = RNG.standard_normal(dims), 1.7
    noise = RNG.standard_normal((len(counts), dims)).astype(np.float32)
    out, variances = np.zeros((2, len(counts), dims), np.float32)
    borders, prior = chunks(side[0], dims), (precision, shift, scale, False)
    assert gaussian_rows(borders, side, (padded(design), offset, spread), prior, noise, out, variances) == 0
    for row in range(len(counts)):
        a, b = normal_equations(row, side, design, offset, precision, scale, spread)
        lower = np.linalg.cholesky(a)
        expected = np.linalg.solve(a, b + shift) + np.linalg.solve(lower.T, noise[row])
        np.testing.assert_allclose(out[row], expected, rtol=2e-4, atol=2e-4)
        np.testing.assert_allclose(variances[row], np.diag(np.linalg.inv(a)), rtol=2e-4)


def test_a_ridge_by_count_and_a_singular_row() -> None:
    side, design, offset = problem(3, [5, 0, 40], False)
    out = np.zeros((3, 3), np.float32)
    prior = (np.eye(3) * 0.1, np.zeros(3), 1.0, True)
    gaussian_rows(chunks(side[0], 3), side, (padded(design), offset, NO_ROWS), prior, NO_ROWS, out, NO_ROWS)
    for row, ridge in ((0, 5.0), (2, 40.0)):
        a, b = normal_equations(row, side, design, offset, np.eye(3) * 0.1, 1.0, NO_ROWS, ridge)
        np.testing.assert_allclose(out[row], np.linalg.solve(a, b), rtol=2e-4)
    none = (np.zeros((3, 3)), np.zeros(3), 1.0, False)
    assert gaussian_rows(chunks(side[0], 3), side, (padded(design), offset, NO_ROWS), none, NO_ROWS, out, NO_ROWS) == 1


def test_nonnegative_rows_match_an_active_set_solver() -> None:
    from scipy.optimize import nnls

    side, design, offset = problem(5, [6, 20, 300], False)
    precision, out = np.eye(5) * 0.5, np.ones((3, 5), np.float32)
    prior = (precision, np.zeros(5), 1.0, False)
    nonnegative_rows(chunks(side[0], 5), side, (padded(design), offset, NO_ROWS), prior, 300, out)
    for row in range(3):
        a, b = normal_equations(row, side, design, offset, precision, 1.0, NO_ROWS)
        lower = np.linalg.cholesky(a)
        np.testing.assert_allclose(out[row], nnls(lower.T, np.linalg.solve(lower, b))[0], atol=2e-4)
    assert (out == 0).any()


def test_squared_error_and_its_expectation() -> None:
    side, design, offset = problem(4, [3, 50, 0, 9], False)
    x = RNG.standard_normal((4, 4)).astype(np.float32)
    row = np.repeat(np.arange(4), np.diff(side[0]))
    gap = side[2] - offset[side[1]] - (x[row] * design[side[1]]).sum(1)
    found = squared_error(chunks(side[0], 4), side, x, NO_ROWS, (padded(design), offset, NO_ROWS))
    assert found == pytest.approx(float((gap**2).sum()), rel=1e-5)
    vx, vz = RNG.random((4, 4)).astype(np.float32), RNG.random((700, 4)).astype(np.float32)
    more = (x[row] ** 2 * vz[side[1]] + vx[row] * (design[side[1]] ** 2 + vz[side[1]])).sum()
    found = squared_error(chunks(side[0], 4), side, x, vx, (padded(design), offset, vz))
    assert found == pytest.approx(float((gap**2).sum() + more), rel=1e-5)


def test_enough_conjugate_gradients_solve_the_weighted_problem() -> None:
    side, design, _ = problem(6, [4, 0, 80], False)
    confidence = 1 + 3 * np.abs(side[2])
    gram = (design.T @ design + 2 * np.eye(6)).astype(np.float32)
    out = np.ones((3, 6), np.float32)
    conjugate_rows(chunks(side[0], 6), (side[0], side[1], confidence), design, gram, 12, out)
    for row in (0, 2):
        part = slice(side[0][row], side[0][row + 1])
        z, c = design[side[1][part]].astype(np.float64), confidence[part]
        np.testing.assert_allclose(out[row], np.linalg.solve(gram + (z.T * (c - 1)) @ z, z.T @ c), rtol=1e-3, atol=1e-5)
    assert (out[1] == 0).all()


def test_chunks_cover_all_rows_in_order() -> None:
    for counts in ([1], [0, 0, 5], list(range(200)), [10_000] + [1] * 50):
        borders = chunks(np.append(0, np.cumsum(counts)), 8)
        assert borders[0] == 0 and borders[-1] == len(counts) and (np.diff(borders) > 0).all()


def test_ranks_with_ties_and_hidden_items() -> None:
    scores = np.array([[3.0, 1.0, 2.0, -np.inf], [1.0, 1.0, 1.0, 1.0]], np.float32)
    found = ranks(scores, np.array([0, 2, 3]), np.array([0, 1, 2]))
    assert found.tolist() == [[0, 3], [2, 3], [1.5, 4]]


def test_quantiles_of_a_mixture_invert_its_distribution() -> None:
    from scipy.special import ndtr

    means, sds = RNG.standard_normal((5, 30)).astype(np.float32) * 3, RNG.random(30) + 0.1
    for q, normal in ((0.01, -2.3), (0.5, 0.0), (0.95, 1.6)):
        x = mixture_quantiles(means, sds, q, normal)
        np.testing.assert_allclose(ndtr((x[:, None] - means) / sds).mean(axis=1), q, atol=1e-6)
