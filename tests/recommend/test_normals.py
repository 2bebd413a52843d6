"""Normal numbers by their place: their distribution, and that nothing but key, row and column decides them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from imbik.recommend.kernels.normals import normal_rows

KEY = np.uint64(2**63 + 12345)


def test_they_are_standard_normal_in_the_middle_and_in_the_tail() -> None:
    drawn = normal_rows(KEY, 0, 500_000, 4).ravel().astype(np.float64)
    assert stats.kstest(drawn, "norm").pvalue > 1e-3
    # every sixteenth of the probability, and the tail that the ziggurat draws in another way (beyond 3.6541)
    counts = np.histogram(drawn, stats.norm.ppf(np.linspace(0, 1, 17)))[0]
    assert stats.chisquare(counts).pvalue > 1e-3
    for beyond in (3.0, 3.6542, 4.2):
        expected = 2 * stats.norm.sf(beyond) * len(drawn)
        assert abs((np.abs(drawn) > beyond).sum() - expected) < 4.5 * np.sqrt(expected)
    for moment, expected in ((1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)):
        error = np.sqrt(np.mean(drawn ** (2 * moment)) / len(drawn))
        assert abs(np.mean(drawn**moment) - expected) < 4.5 * error


def test_neighbors_in_rows_columns_and_keys_tell_nothing_of_one_another() -> None:
    table = normal_rows(KEY, 0, 200_000, 3).astype(np.float64)
    other = normal_rows(KEY + np.uint64(1), 0, 200_000, 3).astype(np.float64)
    pairs = [(table[:, 0], table[:, 1]), (table[:-1, 2], table[1:, 0]), (table[:-1, 0], table[1:, 0]), (table[:, 0], other[:, 0])]
    for left, right in pairs:
        assert abs(np.corrcoef(left, right)[0, 1]) < 4.5 / np.sqrt(len(left))
        assert abs(np.corrcoef(left**2, right**2)[0, 1]) < 4.5 / np.sqrt(len(left))


@pytest.mark.parametrize("first", [0, 1, 77])
def test_a_part_of_the_rows_is_that_part_of_all_rows(first: int) -> None:
    assert np.array_equal(normal_rows(KEY, first, 20, 7), normal_rows(KEY, 0, 200, 7)[first : first + 20])
    assert not np.array_equal(normal_rows(KEY, first, 20, 7), normal_rows(KEY + np.uint64(1), first, 20, 7))
