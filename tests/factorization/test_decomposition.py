"""Decompositions against SciPy and scikit-learn, break-even, and the sharing out of one budget."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.linalg
from sklearn.decomposition import NMF, TruncatedSVD

from imbik.factorization.decomposition import _nndsvda, decompose, largest_rank, nmf, split_nmf, tail
from imbik.factorization.ranks import Curve, allocate

GENERATOR = np.random.default_rng(0)


def random(rows, columns, decay=0.9):
    """A matrix whose singular values fall off, as those of weights do."""
    left, right = np.linalg.qr(GENERATOR.standard_normal((rows, rows)))[0], np.linalg.qr(GENERATOR.standard_normal((columns, columns)))[0]
    count = min(rows, columns)
    return left[:, :count] * decay ** np.arange(count) @ right[:count]


@pytest.mark.parametrize("shape", [(40, 24), (24, 40), (24, 24)])
@pytest.mark.parametrize("rank", [1, 5, 24])
def test_the_plain_svd_is_that_of_scipy_and_scikit_learn(shape, rank):
    matrix = random(*shape)
    up, down = decompose(matrix).factors(rank)
    u, s, v = scipy.linalg.svd(matrix, full_matrices=False)
    np.testing.assert_allclose(up @ down, u[:, :rank] * s[:rank] @ v[:rank], atol=1e-6)
    if rank < 24:
        learned = TruncatedSVD(rank, algorithm="arpack").fit(matrix)
        np.testing.assert_allclose(up @ down, learned.transform(matrix) @ learned.components_, atol=1e-6)


def test_the_loss_of_a_rank_is_the_tail_of_the_spectrum():
    matrix = random(30, 20)
    found = decompose(matrix)
    for rank in (1, 7, 19):
        up, down = found.factors(rank)
        lost = np.square(matrix - up @ down).sum() / np.square(matrix).sum()
        assert lost == pytest.approx(tail(found.values)[rank - 1], abs=1e-6)


@pytest.mark.parametrize("weights", ["none", "vector", "matrix", "singular"])
def test_full_rank_is_the_identity(weights):
    matrix = random(12, 18)
    inputs = GENERATOR.standard_normal((50 if weights != "singular" else 6, 18))
    given = {"none": None, "vector": GENERATOR.uniform(0.01, 9, 18), "matrix": inputs.T @ inputs, "singular": inputs.T @ inputs}[weights]
    up, down = decompose(matrix, given).factors(12)
    np.testing.assert_allclose(up @ down, matrix, atol=1e-4)


def test_whitening_gives_the_least_error_of_the_outputs():
    matrix, inputs = random(20, 16), GENERATOR.standard_normal((400, 16)) * np.linspace(0.1, 5, 16)

    def error(up, down):
        return np.square(inputs @ matrix.T - inputs @ (up @ down).T).sum()

    moments = inputs.T @ inputs / len(inputs)
    ours = error(*decompose(matrix, moments).factors(4))
    assert ours < error(*decompose(matrix).factors(4))
    s = scipy.linalg.svdvals(matrix @ scipy.linalg.cholesky(moments, lower=True))
    assert ours == pytest.approx(np.square(s[4:]).sum() * len(inputs), rel=1e-3), "the loss is the tail of the whitened spectrum"
    for _ in range(50):  # no neighbour is better
        up, down = decompose(matrix, moments).factors(4)
        assert error(up + 1e-3 * GENERATOR.standard_normal(up.shape), down) > ours


def test_a_vector_of_weights_is_a_diagonal_matrix():
    matrix, weights = random(9, 14), GENERATOR.uniform(0.1, 3, 14)
    one, other = decompose(matrix, weights).factors(3), decompose(matrix, np.diag(weights)).factors(3)
    np.testing.assert_allclose(one[0] @ one[1], other[0] @ other[1], atol=1e-5)


@pytest.mark.parametrize("weights", [np.ones(3), -np.ones(14), np.ones((14, 9))])
def test_weights_that_do_not_fit_are_refused(weights):
    with pytest.raises(ValueError, match="weights"):
        decompose(random(9, 14), weights)


@pytest.mark.parametrize("rank", [2, 6])
def test_nmf_is_as_good_as_that_of_scikit_learn(rank):
    matrix = np.maximum(random(60, 40, 0.8) + 0.02, 0)
    left, right = nmf(matrix, rank, iterations=300)
    assert left.shape == (60, rank) and right.shape == (rank, 40) and (left >= 0).all() and (right >= 0).all()
    learned = NMF(rank, init="nndsvda", max_iter=2000, tol=1e-5)
    theirs = np.linalg.norm(matrix - learned.fit_transform(matrix) @ learned.components_)
    ours = np.linalg.norm(matrix - left @ right)
    assert ours < theirs * 1.01
    best = np.sqrt(np.square(scipy.linalg.svdvals(matrix)[rank:]).sum())
    assert ours > best * 0.999, "no factorization beats the singular values"


def test_split_nmf_approximates_a_matrix_of_both_signs():
    matrix = random(40, 30, 0.7)
    up, down = split_nmf(matrix, 8, iterations=200)
    assert up.shape == (40, 16) and down.shape == (16, 30) and (down >= 0).all()
    assert (up[:, :8] >= 0).all() and (up[:, 8:] <= 0).all()
    assert np.square(matrix - up @ down).sum() < 0.2 * np.square(matrix).sum()
    assert np.allclose(nmf(np.zeros((4, 5)), 2)[0] @ nmf(np.zeros((4, 5)), 2)[1], 0)


@pytest.mark.parametrize(("rows", "columns", "pairs"), [(384, 384, 1), (1536, 384, 1), (312, 1200, 1), (384, 384, 2), (7, 3, 1), (1, 1, 1)])
def test_break_even(rows, columns, pairs):
    rank = largest_rank(rows, columns, pairs)
    assert pairs * rank * (rows + columns) < rows * columns <= pairs * (rank + 1) * (rows + columns)


def brute(curves, budget):
    """The least loss of all choices, and what it is."""
    best = None
    for choice in itertools.product(*(curve.points() for curve in curves)):
        cost, loss = sum(c for c, _, _ in choice), sum(lost for _, lost, _ in choice)
        if cost <= budget + 1e-9 and (best is None or loss < best):
            best = loss
    return best


def lost(curves, ranks):
    return sum(0.0 if rank == 0 else curve.losses[rank - 1] for curve, rank in zip(curves, ranks, strict=True))


def test_sharing_out_is_optimal_up_to_one_matrix():
    for seed in range(60):
        generator = np.random.default_rng(seed)
        curves = []
        for _ in range(3):
            values = np.sort(generator.exponential(1, 5))[::-1] * generator.uniform(0.1, 5)
            remaining = values.sum() + generator.uniform(0, 3)
            unit = float(generator.integers(1, 4))
            curves.append(Curve(remaining - np.cumsum(values), unit, 5 * unit + float(generator.integers(1, 5))))
        for share in (0.35, 0.5, 0.8):
            budget = share * sum(curve.whole for curve in curves)
            ranks = allocate(curves, budget)
            best = brute(curves, budget)
            assert (ranks is None) == (best is None)
            if ranks is None:
                continue
            spent = sum(curve.whole if rank == 0 else curve.unit * rank for curve, rank in zip(curves, ranks, strict=True))
            assert spent <= budget + 1e-9
            step = max(max(np.abs(np.diff(np.append(curve.losses, 0.0)))) for curve in curves)
            assert best <= lost(curves, ranks) + 1e-9 and lost(curves, ranks) <= best + 2 * step


def test_ranks_are_multiples_where_asked():
    curves = [Curve(np.linspace(1, 0.01, 40) ** 2, 1, 50, step=8), Curve(np.linspace(1, 0.01, 40), 1, 50, step=8)]
    ranks = allocate(curves, 48)
    assert all(rank % 8 == 0 for rank in ranks)


@pytest.mark.parametrize("seed", range(4))
def test_nmf_starts_from_the_half_of_each_singular_pair_that_has_more_energy(seed):
    """NNDSVD (Boutsidis and Gallopoulos 2008): of (u, v) and (-u, -v) the one whose non-negative parts have the larger product."""
    matrix = np.random.default_rng(seed).random((9, 7))
    first, second = _nndsvda(matrix, 5)
    u, s, v = scipy.linalg.svd(matrix, full_matrices=False)
    for k in range(5):
        halves = [np.outer(np.maximum(sign * u[:, k], 0), np.maximum(sign * v[k], 0)) for sign in (1, -1)]
        expected = s[k] * max(halves, key=np.linalg.norm)
        found, kept = np.outer(first[:, k], second[k]), expected > 0
        np.testing.assert_allclose(found[kept], expected[kept], rtol=1e-4)
    assert (first > 0).all() and (second > 0).all(), "zeros are filled: some updates never leave them"
    filled = first == matrix.mean()
    assert filled.any() and (filled.sum() + (second == matrix.mean()).sum()) < first.size + second.size
