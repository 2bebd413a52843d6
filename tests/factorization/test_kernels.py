"""Factorized kernels against references in plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from imbik.factorization.kernels import Tucker, by_space, unfold

GENERATOR = np.random.default_rng(0)


def partial_tucker(kernel, ranks, turns=10):
    """Higher-order orthogonal iteration, as in tensorly's partial_tucker on the modes 0 and 1, by full SVDs."""
    factors = [np.linalg.svd(np.moveaxis(kernel, axis, 0).reshape(kernel.shape[axis], -1))[0][:, :rank] for axis, rank in enumerate(ranks)]
    for _ in range(turns):
        for axis in (0, 1):
            other = 1 - axis
            projected = np.moveaxis(np.tensordot(kernel, factors[other], axes=(other, 0)), -1, other)
            rows = np.moveaxis(projected, axis, 0).reshape(kernel.shape[axis], -1)
            factors[axis] = np.linalg.svd(rows)[0][:, : ranks[axis]]
    core = np.einsum("oi...,or,is->rs...", kernel, *factors)
    return np.einsum("rs...,or,is->oi...", core, *factors)


@pytest.mark.parametrize("ranks", [(3, 2), (6, 5), (1, 1)])
def test_tucker_is_higher_order_orthogonal_iteration(ranks):
    kernel = GENERATOR.standard_normal((8, 6, 3, 3))
    left, core, right = Tucker(kernel).factors(*ranks, iterations=10)
    mine = np.einsum("rs...,or,is->oi...", core, left, right)
    np.testing.assert_allclose(mine, partial_tucker(kernel, ranks), atol=1e-8)


def test_full_ranks_give_the_kernel_back():
    kernel = GENERATOR.standard_normal((8, 6, 5))
    left, core, right = Tucker(kernel).factors(8, 6)
    np.testing.assert_allclose(np.einsum("rsw,or,is->oiw", core, left, right), kernel, atol=1e-10)


def test_the_losses_are_those_of_the_truncated_bases():
    kernel = GENERATOR.standard_normal((7, 5, 3, 3))
    tucker = Tucker(kernel)
    for out, into in ((1, 1), (3, 4), (7, 2)):
        left, core, right = tucker.factors(out, into, iterations=0)
        lost = np.square(kernel - np.einsum("rs...,or,is->oi...", core, left, right)).sum() / np.square(kernel).sum()
        assert tucker.losses[out - 1, into - 1] == pytest.approx(lost, abs=1e-10)
    assert tucker.losses[-1, -1] == pytest.approx(0, abs=1e-12)


def test_the_matrix_by_space_holds_a_filter_of_columns_in_a_column():
    columns, rows = GENERATOR.standard_normal((4, 3)), GENERATOR.standard_normal((5, 2))  # (I, h), (O, w)
    kernel = np.einsum("ih,ow->oihw", columns, rows)
    assert np.linalg.matrix_rank(by_space(kernel)) == 1
    np.testing.assert_allclose(by_space(kernel), np.outer(columns.reshape(-1), rows.reshape(-1)))


def test_unfolding_keeps_the_slices_of_an_axis_as_rows():
    kernel = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(unfold(kernel, 1)[2], kernel[:, 2].reshape(-1))
