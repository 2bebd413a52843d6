"""Fits with users on workers: equal to one machine's up to rounding, on any number of workers to the last bit, and after deaths too."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_ratings import low_rank, two_groups

from imbik.errors import UserError
from imbik.jobs.child import Died
from imbik.recommend.cluster import team as team_module
from imbik.recommend.cluster.parts import leaf_borders, part_of, root, shares, subtrees
from imbik.recommend.cluster.place import HERE
from imbik.recommend.cluster.team import LocalHandle, LocalTransport
from imbik.recommend.cluster.worker import Given, Worker
from imbik.recommend.data.ratings import Array, Ratings
from imbik.recommend.models.model import MODELS, Model
from imbik.recommend.models.registry import build

KINDS: list[tuple[str, dict[str, object]]] = [
    ("bpmf", {"rank": 3, "burn_in": 5, "samples": 5}), ("bpmf", {"rank": 3, "burn_in": 5, "samples": 5, "biases": False}),
    ("pmf", {"rank": 3, "epochs": 6}), ("pmf", {"rank": 3, "epochs": 6, "prior": "fixed", "biases": False}),
    ("pmf", {"rank": 3, "epochs": 6, "prior": "weighted", "ridge": 0.1}), ("als", {"rank": 3, "epochs": 6, "conjugate_steps": 0}),
]  # fmt: skip
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray")


def data_of(name: str) -> Ratings:
    return two_groups() if MODELS[name].feedback == "implicit" else low_rank()


def equal(left: Model, right: Model) -> bool:
    return all(np.array_equal(left.arrays_[name], right.arrays_[name]) for name in right.arrays_) and left.facts_ == right.facts_


# --- the tree -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 3, 5, 7, 16])
def test_workers_hold_every_leaf_once_in_subtrees_of_one_tree(workers: int) -> None:
    nodes = [node for first, last in shares(16, workers) for node in subtrees(first, last)]
    assert [leaf for first, size in nodes for leaf in range(first, first + size)] == list(range(16))
    assert all(size & (size - 1) == 0 and first % size == 0 for first, size in nodes)
    if workers in (1, 2, 16):  # a power of two sends one sum each
        assert len(nodes) == workers


def test_the_root_adds_as_the_tree_says_and_not_from_left_to_right() -> None:
    leaves = [1e16, 1.0, -1e16, 1.0]
    sums = [np.array([value]) for value in leaves]
    expected = (leaves[0] + leaves[1]) + (leaves[2] + leaves[3])
    for borders in ([0, 4], [0, 2, 4], [0, 1, 2, 3, 4], [0, 3, 4]):
        parts = []
        for first, last in pairwise(borders):
            parts.append({(f, n): _sum_of(sums, f, n) for f, n in subtrees(first, last)})
        assert root(parts, 4)[0] == expected
    assert expected != sum(leaves)


def _sum_of(sums: list[Array], first: int, size: int) -> Array:
    if size == 1:
        return sums[first]
    return _sum_of(sums, first, size // 2) + _sum_of(sums, first + size // 2, size // 2)


def test_leaves_have_about_equally_many_ratings_and_only_the_ratings_decide_how_many_there_are() -> None:
    degrees = np.random.default_rng(0).geometric(0.02, 4000)
    indptr = np.append(0, np.cumsum(degrees))
    borders = leaf_borders(indptr)
    counts = np.diff(indptr[borders])
    assert len(counts) == 16 and counts.sum() == indptr[-1]
    assert counts.max() < 1.1 * counts.mean()
    assert len(leaf_borders(np.array([0, 2, 3, 100 * 2**20]))) - 1 == 128
    assert leaf_borders(np.array([0, 0, 1])).tolist()[-1] == 2  # fewer users than leaves: some are empty


# --- one worker ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_a_worker_solves_its_users_and_says_of_items_what_the_formulas_say(weighted: bool) -> None:
    ratings, rng, dims = low_rank(), np.random.default_rng(0), 4
    side, items = ratings.by_user, ratings.shape[1]
    weights = rng.random(len(ratings)).astype(np.float32) + 0.5 if weighted else np.zeros(0, np.float32)
    borders = leaf_borders(side.indptr)
    share = (4, 9)
    worker = Worker(part_of(side, weights, items, borders, share), 1)
    rows = rng.standard_normal((items, dims)).astype(np.float32)
    prior = (np.eye(dims) * 2.0, np.arange(dims) * 0.1, 1.7, False)
    drawn = worker.draw(Given(rows, np.zeros((0, 0), np.float32), 3.0, True, prior))
    users = range(borders[share[0]], borders[share[1]])
    z = np.column_stack([np.ones(items), rows[:, 1:].astype(np.float64)])
    w = weights.astype(np.float64) if weighted else np.ones(len(ratings))
    x = np.zeros((len(users), dims))
    sums = np.zeros((items, dims * (dims + 1) // 2 + dims))
    error = 0.0
    for k, user in enumerate(users):
        cells = slice(side.indptr[user], side.indptr[user + 1])
        columns, values = side.indices[cells], side.values[cells].astype(np.float64)
        a = prior[0] + 1.7 * (z[columns].T * w[cells]) @ z[columns]
        b = prior[1] + 1.7 * z[columns].T @ (w[cells] * (values - 3.0 - rows[columns, 0]))
        x[k] = np.linalg.solve(a, b)
        seen = np.append(1.0, x[k, 1:])
        for column, value, weight in zip(columns, values, w[cells], strict=True):
            sums[column] += weight * np.append(np.outer(seen, seen)[np.triu_indices(dims)], (value - 3.0 - x[k, 0]) * seen)
            target = 1.0 if weighted else value
            error += (target - 3.0 - rows[column, 0] - x[k] @ z[column]) ** 2
    assert drawn.failed == 0
    np.testing.assert_allclose(worker.rows(), x, atol=2e-5)
    np.testing.assert_allclose(sum(drawn.statistics.values()), sums, rtol=1e-4, atol=1e-4)
    assert list(drawn.statistics) == [(4, 4), (8, 1)]
    rated = np.diff(side.indptr)[users.start : users.stop] > 0
    assert sum(leaf.number for leaf in drawn.moments) == rated.sum()
    np.testing.assert_allclose(sum(leaf.squares for leaf in drawn.moments), x[rated].T @ x[rated], rtol=1e-4, atol=1e-4)
    assert sum(worker.errors(rows, np.zeros((0, 0), np.float32))) == pytest.approx(error, rel=1e-4)


# --- whole fits ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "settings"), KINDS)
def test_a_fit_on_workers_is_that_of_one_machine_up_to_the_rounding_of_sums(name: str, settings: dict[str, object]) -> None:
    ratings = data_of(name)
    alone = build(name, **settings).fit(ratings)
    losses: list[float] = []
    shared = build(name, **settings).fit(ratings, ray=HERE, workers=3, report=lambda done, total, loss: losses.append(loss))
    for key, array in alone.arrays_.items():
        np.testing.assert_allclose(shared.arrays_[key], array, atol=2e-4 * np.abs(array).max())
    assert shared.facts_ == pytest.approx(alone.facts_, rel=1e-4)
    assert shared.settings == alone.settings
    assert len(losses) == settings.get("epochs", 10) and losses[-1] < losses[0]


@pytest.mark.parametrize(("name", "settings"), KINDS)
def test_the_number_of_workers_and_of_threads_changes_no_bit(name: str, settings: dict[str, object]) -> None:
    ratings = data_of(name)
    first = build(name, **settings).fit(ratings, ray=HERE, workers=1)
    for workers, threads in ((2, 1), (5, 2), (16, 1)):
        assert equal(build(name, **settings, threads=threads).fit(ratings, ray=HERE, workers=workers), first)


def test_a_fit_is_continued_on_workers() -> None:
    ratings = low_rank()
    start = build("pmf", rank=3, epochs=3).fit(ratings)
    alone = build("pmf", rank=3, epochs=3).fit(ratings, start=start)
    shared = build("pmf", rank=3, epochs=3).fit(ratings, start=start, ray=HERE, workers=2)
    np.testing.assert_allclose(shared.arrays_["items"], alone.arrays_["items"], atol=1e-4)


class Mortal(LocalHandle):
    """A worker that dies at some of the questions of the whole team."""

    asked = 0
    deadly: Callable[[int], bool] = staticmethod(lambda number: False)

    def ask(self, question: str, arguments: Any) -> Callable[[], Any]:
        answer = super().ask(question, arguments)

        def wait() -> Any:
            Mortal.asked += 1
            if Mortal.deadly(Mortal.asked):
                raise Died("killed")
            return answer()

        return wait


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch) -> type[Mortal]:
    monkeypatch.setattr(LocalTransport, "start", lambda self, part: Mortal(Worker(part, 1)))
    Mortal.asked = 0
    return Mortal


@pytest.mark.parametrize("name", ["bpmf", "pmf", "als"])
def test_workers_that_die_at_any_question_change_no_bit(name: str, mortal: type[Mortal], monkeypatch: pytest.MonkeyPatch) -> None:
    settings = next(settings for kind, settings in KINDS if kind == name)
    monkeypatch.setattr(mortal, "deadly", staticmethod(lambda number: False))
    whole = build(name, **settings).fit(data_of(name), ray=HERE, workers=3)
    asked, mortal.asked = mortal.asked, 0
    rng = np.random.default_rng(4)
    died = set(rng.choice(np.arange(1, asked), 8, replace=False).tolist())
    monkeypatch.setattr(mortal, "deadly", staticmethod(lambda number: number in died))
    assert equal(build(name, **settings).fit(data_of(name), ray=HERE, workers=3), whole)
    assert mortal.asked > asked


def test_workers_that_die_again_and_again_end_the_fit_with_one_message(mortal: type[Mortal], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mortal, "deadly", staticmethod(lambda number: number > 20))
    with pytest.raises(UserError, match=r"part \d of 3: the workers of the fit die. Found: killed \(3 times\)"):
        build("pmf", rank=2).fit(low_rank(), ray=HERE, workers=3)


# --- what is refused ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("svd", {}, "svd is fitted on one machine"), ("logistic", {}, "logistic is fitted on one machine"),
        ("als", {}, "conjugate gradients go on from rows that die"), ("pmf", {"solver": "sgd"}, "SGD changes the rows of both sides"),
        ("pmf", {"constrained": True}, "Found: constrained=True"),
    ],
)  # fmt: skip
def test_what_cannot_be_fitted_on_a_cluster_is_refused_with_its_reason(name: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(name, **settings).fit(data_of(name), ray="local")


def test_more_workers_than_leaves_are_refused_before_ray_is_started() -> None:
    with pytest.raises(UserError, match=r"--workers: too many workers for these ratings. Found: 17. Expected: at most 16"):
        build("pmf", rank=2).fit(low_rank(), ray="local", workers=17)


def test_without_ray_the_user_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r'ray: package not installed. Do: pip install "imbik\[ray\]"'):
        build("pmf", rank=2).fit(low_rank(), ray="local")


@pytest.mark.parametrize("side", ["users", "items"])
def test_rows_without_a_solution_end_the_fit_as_on_one_machine(side: str) -> None:
    ratings = low_rank()
    less = ratings.take(getattr(ratings, side) != 0)  # a row without ratings, and a prior that says nothing
    for place in ({}, {"ray": HERE, "workers": 2}):
        with pytest.raises(UserError, match=r"the fit of pmf diverged\. Found: 1 rows whose equations have no one solution"):
            build("pmf", rank=2, prior="fixed", ridge=0.0, bias_ridge=0.0).fit(less, **place)  # type: ignore[arg-type]


# --- on Ray -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@needs_ray
def test_an_address_where_no_cluster_is_is_refused_at_once() -> None:
    with pytest.raises(UserError, match=r"--ray: no Ray cluster answers. Found: 127.0.0.1:9"):
        build("pmf", rank=2).fit(low_rank(), ray="127.0.0.1:9")


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    ray = pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", object_store_memory=100 * 2**20
    )
    yield ray
    ray.shutdown()


@pytest.mark.slow
@needs_ray
@pytest.mark.parametrize(("name", "settings"), [KINDS[0], KINDS[2], KINDS[5]])
def test_on_ray_the_model_is_that_of_workers_in_this_process(ray: Any, name: str, settings: dict[str, object]) -> None:
    here = build(name, **settings).fit(data_of(name), ray=HERE, workers=1)
    assert equal(build(name, **settings).fit(data_of(name), ray="local", workers=2), here)


def blocks(process: int) -> list[Any]:
    import psutil

    found = psutil.Process(process).children(recursive=True)
    return [child for child in found if b"ray::Block" in Path(f"/proc/{child.pid}/cmdline").read_bytes()]


@pytest.mark.slow
@needs_ray
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_actors_that_are_killed_are_replaced_and_the_model_is_the_same(ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team_module, "ATTEMPTS", 10)
    settings: dict[str, object] = {"rank": 3, "burn_in": 20, "samples": 40}
    whole = build("bpmf", **settings).fit(low_rank(), ray=HERE, workers=2)
    killed: list[int] = []

    def kill(done: int, total: int, loss: float) -> None:
        if done in (10, 40):
            for block in blocks(os.getpid())[:1]:
                block.kill()
                killed.append(block.pid)

    assert equal(build("bpmf", **settings).fit(low_rank(), ray="local", workers=2, report=kill), whole)
    assert len(killed) == 2
