"""Splits of ratings that share the tables of ids: random, leave-last-out, by time, k folds; all seeded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from imbik.errors import UserError
from imbik.recommend.data.ratings import Array, Ratings


class Split(NamedTuple):
    """What a model may see, and what it is judged on."""

    train: Ratings
    test: Ratings


def random_split(ratings: Ratings, test: float = 0.1, seed: int = 0) -> Split:
    """Hold out a random share ``test`` of the rows; rows keep their order.

    >>> split = random_split(Ratings.of("aabb", "xyxy", [1, 2, 3, 4]), test=0.5, seed=1)
    >>> len(split.train), len(split.test)
    (2, 2)
    """
    count = round(len(ratings) * _share(test))
    _check_sizes(len(ratings), count)
    held_out = np.zeros(len(ratings), bool)
    held_out[np.random.default_rng(seed).permutation(len(ratings))[:count]] = True
    return Split(ratings.take(~held_out), ratings.take(held_out))


def time_split(ratings: Ratings, test: float = 0.1) -> Split:
    """Hold out the newest share ``test`` of all rows (ties at the border: later rows of the file)."""
    order = np.argsort(_times(ratings), kind="stable")
    count = round(len(ratings) * _share(test))
    _check_sizes(len(ratings), count)
    held_out = np.zeros(len(ratings), bool)
    held_out[order[-count:]] = True
    return Split(ratings.take(~held_out), ratings.take(held_out))


def leave_last_out(ratings: Ratings, count: int = 1) -> Split:
    """Hold out the last ``count`` ratings of every user who has more: by time, else by order of rows."""
    times = np.arange(len(ratings)) if ratings.times is None else ratings.times
    order = np.lexsort((times, ratings.users))
    users = ratings.users[order]
    ends = np.searchsorted(users, users, side="right")  # for each row, where its user's rows end
    sizes = ends - np.searchsorted(users, users, side="left")
    held_out = np.zeros(len(ratings), bool)
    # Who has no more ratings than are to be held out keeps all: a model cannot know a user without any.
    held_out[order[(np.arange(len(users)) >= ends - count) & (sizes > count)]] = True
    _check_sizes(len(ratings), int(held_out.sum()))
    return Split(ratings.take(~held_out), ratings.take(held_out))


def k_folds(ratings: Ratings, folds: int = 5, seed: int = 0) -> Iterator[Split]:
    """Yield ``folds`` splits; every row is in the test part of exactly one."""
    if not 2 <= folds <= len(ratings):
        raise UserError("impossible number of folds", found=folds, expected=f"2 to {len(ratings)}")
    fold = np.random.default_rng(seed).permutation(len(ratings)) % folds
    for k in range(folds):
        yield Split(ratings.take(fold != k), ratings.take(fold == k))


def _share(test: float) -> float:
    if not 0 < test < 1:
        raise UserError("impossible share of test rows", found=test, expected="a number between 0 and 1")
    return test


def _check_sizes(rows: int, held_out: int) -> None:
    if held_out == 0 or held_out == rows:
        raise UserError("too few ratings to split", found=f"{rows} rows, {held_out} for the test part", fix="give more rows")


def _times(ratings: Ratings) -> Array:
    if ratings.times is None:
        raise UserError("a split by time needs a time column", found="none", fix="name the column of times, or split randomly")
    return ratings.times
