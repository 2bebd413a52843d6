"""Kernels after a fork: GNU OpenMP's threads are lost in the child, and the answers must not be."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
from collections.abc import Callable

import numpy as np
import pytest

from imbik.recommend.data.ratings import Ratings
from imbik.recommend.models.model import Model
from imbik.recommend.models.registry import build

pytestmark = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
KINDS = {"pmf": {"rank": 2, "epochs": 3}, "bpmf": {"rank": 2, "samples": 5, "burn_in": 2}, "svd": {"rank": 2, "epochs": 3},
         "nmf": {"rank": 2, "epochs": 3}, "logistic": {"rank": 2, "epochs": 3}, "als": {"rank": 2, "epochs": 3}}  # fmt: skip


def in_a_fork(work: Callable[[], object]) -> object:
    """The result of ``work`` in a child of this process; a child that dies fails the test."""
    global _work
    _work = work
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        return pool.submit(_call).result(timeout=120)


def _call() -> object:
    return _work()


def _work() -> object:
    return None


@pytest.mark.parametrize("name", KINDS)
def test_a_child_predicts_and_fits_what_its_parent_does(name: str, ratings: Ratings, events: Ratings) -> None:
    def fit() -> Model:
        data = events if name in ("logistic", "als") else ratings
        return build(name, **KINDS[name]).fit(data)

    model = fit()

    def ask() -> list[object]:
        answers: list[object] = [model.predict(["u1", "u2"], ["i1", "i2"]).tolist(), model.recommend("u1", 3)]
        return answers

    expected = ask()
    assert in_a_fork(ask) == expected
    assert in_a_fork(lambda: in_a_fork(ask)) == expected  # and so does a grandchild
    again = in_a_fork(lambda: fit().arrays_)
    assert isinstance(again, dict)
    for key, array in model.arrays_.items():
        np.testing.assert_allclose(again[key], array, rtol=1e-4, atol=1e-5)


def test_children_of_gnu_openmp_and_they_alone_run_on_one_thread(ratings: Ratings) -> None:
    import numba

    from imbik.recommend.kernels import parallel

    build("pmf", rank=2, epochs=1).fit(ratings)
    assert parallel._process["forked"] is False
    assert in_a_fork(lambda: parallel._process["forked"]) == (numba.threading_layer() == "omp")


def test_threads_get_their_own_answers(ratings: Ratings) -> None:
    model = build("bpmf", rank=2, samples=5, burn_in=2).fit(ratings)
    users = [f"u{n}" for n in range(40)]
    expected = [(model.recommend(user, 3), model.predict([user] * 3, ["i1", "i2", "i3"]).tolist()) for user in users]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda user: (model.recommend(user, 3), model.predict([user] * 3, ["i1", "i2", "i3"]).tolist()), users * 3))
    assert found == expected * 3
