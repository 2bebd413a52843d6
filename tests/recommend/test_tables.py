"""The table of a comparison on made models: order, spreads by SciPy, what counts as right, what a cell shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from imbik.recommend.data.ratings import Ratings
from imbik.recommend.data.splits import random_split
from imbik.recommend.evaluation import comparison
from imbik.recommend.evaluation.comparison import cell, columns, compare, markdown, suited
from imbik.recommend.evaluation.measures import Ranking, evaluate, interval_coverage, paired, rank_held_out, ranking_measures
from imbik.recommend.models.registry import build


def test_spreads_and_differences_are_student_intervals(ratings: Ratings, monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    errors = {"biases": rng.random(4), "global-mean": rng.random(4) + 0.5}
    order = {name: iter(values) for name, values in errors.items()}
    monkeypatch.setattr(comparison, "_measure", lambda model, train, test, k: {"rmse": next(order[model.name]), "bytes": 2e6})
    result = compare(ratings, ["global-mean", "biases"], splits=4, test=0.2)
    assert (result["metric"], [entry["name"] for entry in result["models"]]) == ("rmse", ["biases", "global-mean"])
    for entry in result["models"]:
        values = errors[entry["name"]]
        low, high = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
        found = entry["measures"]["rmse"]
        assert (found["mean"], found["low"], found["high"]) == pytest.approx((values.mean(), low, high))
        assert found["values"] == pytest.approx(values.tolist())
    gap = errors["global-mean"] - errors["biases"]
    scale = np.sqrt((1 / 4 + 0.2 / 0.8) * gap.var(ddof=1))  # Nadeau and Bengio 2003
    low, high = stats.t.interval(0.95, 3, loc=gap.mean(), scale=scale)
    versus = result["models"][1]["versus_best"]
    assert (versus["difference"], versus["low"], versus["high"]) == pytest.approx((gap.mean(), low, high))
    assert versus["wins"] == (gap < 0).sum()


def test_by_ranks_the_highest_comes_first_and_one_split_has_no_spread(events: Ratings, monkeypatch: pytest.MonkeyPatch):
    found = {"most-popular": 0.2, "item-knn": 0.4}
    monkeypatch.setattr(comparison, "_measure", lambda model, train, test, k: {"ndcg": found[model.name]})
    result = compare(events, list(found), splits=1)
    assert (result["metric"], [entry["name"] for entry in result["models"]]) == ("ndcg", ["item-knn", "most-popular"])
    spread = result["models"][0]["measures"]["ndcg"]
    assert (spread["low"], spread["mean"], spread["high"]) == (0.4, 0.4, 0.4)
    assert result["models"][1]["versus_best"]["low"] is None


def test_splits_are_seeded_one_after_the_other(ratings: Ratings, monkeypatch: pytest.MonkeyPatch):
    seen: list[list[int]] = []

    def measure(model: Any, train: Ratings, test: Ratings, k: int) -> dict[str, float]:
        seen.append(test.items.tolist())
        return {"rmse": 1.0}

    monkeypatch.setattr(comparison, "_measure", measure)
    result = compare(ratings, ["biases", "global-mean"], splits=2, test=0.3, seed=7)
    expected = [random_split(ratings, 0.3, seed).test.items.tolist() for seed in (7, 7, 8, 8)]
    assert seen == expected and (result["splits"], result["test"], result["seed"], result["k"]) == (2, 0.3, 7, 10)
    assert result["schema"] == 1 and result["data"] == {"ratings": len(ratings), "users": 60, "items": 40, "implicit": False}


def test_cells_and_columns():
    measures = {
        "rmse": {"mean": 0.91239, "low": 0.9, "high": 0.92479, "values": []},
        "ndcg": {"mean": 0.5, "low": 0.5, "high": 0.5, "values": []},
        "mpr": {"mean": 0.25, "low": 0.2, "high": 0.3, "values": []},
        "bytes": {"mean": 2_345_000.0, "low": 0.0, "high": 0.0, "values": []},
        "train_seconds": {"mean": 1.23456, "low": 0.0, "high": 0.0, "values": []},
        "predict_seconds": {"mean": 0.0004, "low": 0.0, "high": 0.0, "values": []},
        "peak_mb": {"mean": 12.6, "low": 0.0, "high": 0.0, "values": []},
    }
    entry: Any = {"name": "x", "settings": {}, "measures": measures, "versus_best": {}}
    shown = ["0.9124 ± 0.0124", "0.5000", "0.2500", "2.35", "1.235", "0.000", "13"]
    assert [cell(entry, name) for name in measures] == shown and cell(entry, "mae") == "-"
    result: Any = {"k": 7, "models": [entry], "left_out": [{"name": "nmf", "reason": "below\n zero"}]}
    assert [title for title, _ in columns(result)] == ["RMSE", "NDCG@7", "MPR", "train s", "predict s", "peak MB", "model MB"]
    lines = markdown(result).splitlines()
    assert lines[0].startswith("| model | RMSE | NDCG@7") and lines[1] == "|---" * 8 + "|" and lines[-1] == "* left out: nmf: below zero"


@pytest.mark.parametrize(
    ("values", "names"), [([0, 1, 2], comparison.EXPLICIT), ([-1, 1, 2], tuple(n for n in comparison.EXPLICIT if n != "nmf"))]
)
def test_models_that_suit_the_values(values: list[int], names: tuple[str, ...]):
    assert suited(Ratings.of("abc", "xyz", values)) == names
    assert suited(Ratings.of("abc", "xyz")) == comparison.IMPLICIT


def test_one_difference_has_no_interval():
    found = paired(np.array([0.5]), np.array([0.75]))
    assert (found["difference"], found["wins"]) == (-0.25, 1.0) and np.isnan(found["low"]) and np.isnan(found["high"])
    assert paired(np.array([0.75]), np.array([0.5]))["wins"] == paired(np.array([0.5]), np.array([0.5]))["wins"] == 0.0
    assert paired(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.5]))["wins"] == 1.0
    wide, narrow = (paired(np.array([1.0, 2.0, 4.0]), np.zeros(3), level=level) for level in (0.99, 0.5))
    default = paired(np.array([1.0, 2.0, 4.0]), np.zeros(3))
    assert default == paired(np.array([1.0, 2.0, 4.0]), np.zeros(3), test=0.1, level=0.95)
    assert wide["low"] < default["low"] < narrow["low"] < narrow["high"] < default["high"] < wide["high"]


def test_ties_count_half_and_average_precision_stays_a_share():
    """Places 0.5 and 0.5 (two right ones share the first two places): the second gives 2 / 1.5, which is cut to 1."""
    ranking = Ranking(np.array([0, 0, 1]), np.array([0.5, 0.5, 3.0]), np.array([5, 5, 1]))
    found = ranking_measures(ranking, 2)
    assert found["map"] == pytest.approx((min((1 / 1.5 + 2 / 1.5) / 2, 1.0) + 1 / 4) / 2)
    assert found["recall"] == pytest.approx((1.0 + 0.0) / 2) and found["precision"] == pytest.approx((2 / 2 + 0) / 2)
    assert found["mpr"] == pytest.approx((0.5 / 4 + 0.5 / 4 + 3.0 / 1) / 3), "a list of one has no places to divide by"


def test_events_are_all_right_and_ratings_in_the_upper_half_of_the_range(ratings: Ratings, events: Ratings):
    train, test = random_split(events, 0.3, 0)
    model = build("most-popular").fit(train)
    assert evaluate(model, test, k=3) == ranking_measures(rank_held_out(model, test), 3)
    train, test = random_split(ratings, 0.2, 0)
    model = build("biases").fit(train)
    none = evaluate(model, test, relevant=9.0)
    assert set(none) == {"rmse", "mae"}, "nothing held out is right: no ranks"
    assert evaluate(model, test, k=10)["recall"] == evaluate(model, test)["recall"]
    assert evaluate(model, test, k=1)["recall"] < evaluate(model, test)["recall"]


def test_a_batch_of_users_is_a_matter_of_memory(events: Ratings):
    train, test = random_split(events, 0.3, 0)
    model = build("item-knn").fit(train)
    whole, parts = rank_held_out(model, test), rank_held_out(model, test, batch=3)
    for one, other in zip((whole.user, whole.rank, whole.candidates), (parts.user, parts.rank, parts.candidates), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_cell_that_is_held_out_is_a_candidate_though_it_was_seen(events: Ratings):
    model = build("most-popular").fit(events)
    ranking = rank_held_out(model, events)  # the training data again: every own cell is asked for
    assert (ranking.candidates == events.shape[1]).all()


def test_intervals_of_a_bayesian_model_are_of_the_level_that_is_asked(ratings: Ratings):
    train, test = random_split(ratings, 0.3, 0)
    model = build("bpmf", rank=2, samples=20, burn_in=5).fit(train)
    found = evaluate(model, test)
    bounds = model.interval_codes(*model.align(test), 0.9)
    assert {name: found[name] for name in ("coverage", "width")} == interval_coverage(bounds, test.values)
    assert evaluate(model, test, level=0.5)["width"] < found["width"]
