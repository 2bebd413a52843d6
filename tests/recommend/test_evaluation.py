"""Measures against small cases done by hand and against scikit-learn; comparison and its files."""

from __future__ import annotations

import json
import xml.dom.minidom
from pathlib import Path

import numpy as np
import pytest

from imbik.errors import UserError
from imbik.recommend.data.ratings import Ratings
from imbik.recommend.data.splits import random_split
from imbik.recommend.evaluation.comparison import compare, markdown, write
from imbik.recommend.evaluation.measures import (
    Ranking,
    evaluate,
    interval_coverage,
    paired,
    rank_held_out,
    ranking_measures,
    rating_errors,
    seen_in_training,
)
from imbik.recommend.models.registry import build


def test_rating_errors() -> None:
    found = rating_errors(np.array([1.0, 2.0, 5.0]), np.array([2.0, 2.0, 3.0]))
    assert found["rmse"] == pytest.approx(np.sqrt(5 / 3)) and found["mae"] == pytest.approx(1.0)


def test_coverage_counts_both_ends() -> None:
    bounds = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 4.0]])
    assert interval_coverage(bounds, np.array([1.0, 2.0, 2.1, 3.0])) == {"coverage": 0.75, "width": 1.5}


def test_ranking_measures_against_scikit_learn() -> None:
    from sklearn.metrics import average_precision_score, ndcg_score

    rng = np.random.default_rng(1)
    scores, right = rng.random((20, 15)), rng.random((20, 15)) < 0.2
    right[:, 0] = True
    place = (scores[:, None, :] > scores[:, :, None]).sum(axis=2)
    user, item = np.nonzero(right)
    ranking = Ranking(user, place[user, item].astype(float), np.full(len(user), 15.0))
    found = ranking_measures(ranking, 5)
    assert found["ndcg"] == pytest.approx(ndcg_score(right, scores, k=5))
    assert found["map"] == pytest.approx(np.mean([average_precision_score(r, s) for r, s in zip(right, scores, strict=True)]))
    top = np.argsort(-scores, axis=1)[:, :5]
    hits = np.take_along_axis(right, top, axis=1).sum(axis=1)
    assert found["recall"] == pytest.approx(np.mean(hits / right.sum(axis=1)))
    assert found["precision"] == pytest.approx(np.mean(hits / 5))
    assert found["mpr"] == pytest.approx(np.mean(place[user, item] / 14))


def test_a_constant_score_is_at_chance(events: Ratings) -> None:
    train, test = random_split(events, 0.3, 0)
    model = build("most-popular").fit(train)
    model.arrays_["items"][:] = 0
    assert evaluate(model, test)["mpr"] == pytest.approx(0.5, abs=1e-6)


def test_seen_items_are_no_candidates_and_cold_cells_are_left_out(events: Ratings) -> None:
    train, test = random_split(events, 0.3, 0)
    model = build("most-popular").fit(train)
    ranking = rank_held_out(model, test)
    seen = np.bincount(train.users, minlength=events.shape[0])
    assert (ranking.candidates == events.shape[1] - seen[ranking.user]).all()
    strange = Ratings.of(["nobody", "u0"], ["i0", "nothing"])
    with pytest.raises(UserError, match="all cold"):
        rank_held_out(model, strange)
    with pytest.raises(UserError, match="length of a list"):
        evaluate(model, test, k=0)
    with pytest.raises(UserError, match="empty"):
        evaluate(model, test.take(np.zeros(len(test), bool)))


def test_cells_of_the_training_data_are_counted(ratings: Ratings) -> None:
    train, test = random_split(ratings, 0.2, 0)
    model = build("biases").fit(train)
    assert seen_in_training(model, test) == 0 and seen_in_training(model, train) == len(train)
    assert seen_in_training(model, Ratings.of(["nobody", ratings.user_ids[0]], ["i0", "nothing"], [1, 2])) == 0


def test_tables_of_another_file_are_matched_by_id(ratings: Ratings) -> None:
    train, test = random_split(ratings, 0.2, 0)
    model = build("biases").fit(train)
    other = Ratings.of(test.user_ids[test.users][::-1], test.item_ids[test.items][::-1], test.values[::-1])
    assert evaluate(model, other)["rmse"] == pytest.approx(evaluate(model, test)["rmse"])


def test_paired_differences_are_narrower_than_the_spread_of_splits() -> None:
    spread = np.random.default_rng(0).standard_normal(10)
    found = paired(spread + 1.0 + 0.01 * np.arange(10), spread)
    assert found["low"] < found["difference"] < found["high"] and found["low"] > 0.9 and found["wins"] == 0


def test_compare_measures_every_model_and_writes_its_files(ratings: Ratings, tmp_path: Path) -> None:
    result = compare(ratings, ["global-mean", build("pmf", rank=2)], splits=2)
    assert [row["name"] for row in result["models"]] == ["pmf", "global-mean"]
    assert result["models"][0]["versus_best"]["difference"] == 0 < result["models"][1]["versus_best"]["low"]
    paths = write(result, tmp_path / "out")
    again = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert again["models"][0]["measures"]["rmse"]["values"] == result["models"][0]["measures"]["rmse"]["values"]
    assert xml.dom.minidom.parseString((tmp_path / "out" / "compare.svg").read_text()).documentElement.tagName == "svg"
    assert markdown(result).count("\n") == 4 and len(paths) == 3
    with pytest.raises(UserError, match="number of splits"):
        compare(ratings, ["pmf"], splits=0)


def test_compare_finds_mistakes_before_it_works(ratings: Ratings) -> None:
    told: list[str] = []
    for models, more, message in [
        (["biases", build("pmf", rank=900)], {}, "rank does not fit"), (["biases"], {"k": 0}, "length of a list"),
    ]:  # fmt: skip
        with pytest.raises(UserError, match=message):
            compare(ratings, models, progress=told.append, **more)  # type: ignore[arg-type]
    assert not told


def test_one_split_has_no_interval_and_the_file_is_json(ratings: Ratings, tmp_path: Path) -> None:
    result = compare(ratings, ["biases", "global-mean"], splits=1)
    write(result, tmp_path)
    text = (tmp_path / "compare.json").read_text()
    assert "NaN" not in text and json.loads(text)["models"][1]["versus_best"]["low"] is None
