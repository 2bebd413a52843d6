"""Splits of ratings by plain loops: who is held out, and that nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest

from imbik.errors import UserError
from imbik.recommend.data.ratings import Ratings
from imbik.recommend.data.splits import k_folds, leave_last_out, random_split, time_split


def made(seed: int, timed: bool = True) -> Ratings:
    rng = np.random.default_rng(seed)
    users, items = np.nonzero(rng.random((9, 12)) < 0.4)
    order = rng.permutation(len(users))
    times = rng.integers(0, 30, len(users)) if timed else None
    # a rating is named by its value, so that rows can be told apart in the parts
    return Ratings.of(users[order], items[order], np.arange(1, len(users) + 1), times)


def parts(split) -> tuple[list[float], list[float]]:
    return split.train.values.tolist(), split.test.values.tolist()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_last_of_every_user_who_has_more(seed: int, timed: bool, count: int):
    ratings = made(seed, timed)
    newest = ratings.times if timed else np.arange(len(ratings))
    held = set()
    for user in set(ratings.users.tolist()):
        own = [row for row in range(len(ratings)) if ratings.users[row] == user]
        if len(own) > count:  # who has no more than are to be held out keeps all
            held |= set(sorted(own, key=lambda row: (newest[row], row))[-count:])
    train, test = parts(leave_last_out(ratings, count))
    assert test == [ratings.values[row] for row in range(len(ratings)) if row in held]
    assert train == [ratings.values[row] for row in range(len(ratings)) if row not in held]


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_the_newest_rows_and_of_equal_times_the_later_ones(share: float):
    ratings = made(1)
    count = round(share * len(ratings))
    newest = sorted(range(len(ratings)), key=lambda row: (ratings.times[row], row))[-count:]
    train, test = parts(time_split(ratings, share))
    assert test == [ratings.values[row] for row in sorted(newest)] and len(train) + len(test) == len(ratings)
    assert test == sorted(test) and train == sorted(train), "rows keep their order"


@pytest.mark.parametrize(("share", "rows", "held"), [(0.1, 25, 2), (0.1, 26, 3), (0.5, 3, 2), (0.9, 10, 9)])
def test_a_random_share_is_rounded(share: float, rows: int, held: int):
    ratings = Ratings.of(range(rows), range(rows), range(1, rows + 1))
    train, test = parts(random_split(ratings, share))
    assert len(test) == held and sorted(train + test) == list(range(1, rows + 1))
    assert test == sorted(test) and train == sorted(train)
    assert parts(random_split(ratings, share)) == parts(random_split(ratings, share, seed=0))


def test_a_tenth_is_held_out_and_five_folds_are_made_unless_told_otherwise():
    ratings = Ratings.of(range(50), range(50), range(1, 51))
    assert len(random_split(ratings).test) == 5
    assert len(time_split(Ratings.of(range(50), range(50), range(1, 51), range(50))).test) == 5
    assert [len(split.test) for split in k_folds(ratings)] == [10] * 5
    assert sorted(value for split in k_folds(ratings, 3) for value in split.test.values.tolist()) == list(range(1, 51))
    assert parts(next(k_folds(ratings))) == parts(next(k_folds(ratings, seed=0))) != parts(next(k_folds(ratings, seed=1)))
    assert leave_last_out(Ratings.of("aaaabbb", "wxyzxyz", range(1, 8))).test.values.tolist() == [4, 7]


@pytest.mark.parametrize(
    "split",
    [
        lambda r: random_split(r, 0.0), lambda r: random_split(r, 1.0), lambda r: random_split(r, 0.1), lambda r: random_split(r, 0.9),
        lambda r: time_split(r, 0.2), lambda r: list(k_folds(r, 1)), lambda r: list(k_folds(r, 3)), lambda r: leave_last_out(r),
    ],
)  # fmt: skip
def test_a_split_without_rows_on_one_side_is_refused(split):
    with pytest.raises(UserError):
        split(Ratings.of("ab", "xy", [1, 2], [1, 2]))


def test_as_many_folds_as_rows_are_possible():
    assert len(list(k_folds(Ratings.of("ab", "xy", [1, 2]), 2))) == 2
