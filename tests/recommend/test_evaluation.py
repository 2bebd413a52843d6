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


def test_the_interval_of_a_paired_difference_is_that_of_nadeau_and_bengio() -> None:
    from scipy import stats

    rng = np.random.default_rng(3)
    first, second = rng.standard_normal(8), rng.standard_normal(8)
    gap = first - second
    for share in (0.1, 0.3):
        deviation = np.sqrt((1 / 8 + share / (1 - share)) * gap.var(ddof=1))
        low, high = stats.t.interval(0.95, df=7, loc=gap.mean(), scale=deviation)
        found = paired(first, second, test=share)
        assert found["low"] == pytest.approx(low) and found["high"] == pytest.approx(high)


def test_the_upper_half_of_the_scale_counts_as_right_in_a_ranking(ratings: Ratings) -> None:
    train, test = random_split(ratings, 0.2, 0)
    model = build("biases").fit(train)
    assert train.range == (1.0, 5.0)
    liked, everything = (ranking_measures(rank_held_out(model, test.take(test.values >= least))) for least in (3.0, 1.0))
    assert liked["ndcg"] != everything["ndcg"]
    assert evaluate(model, test)["ndcg"] == evaluate(model, test, relevant=3.0)["ndcg"] == liked["ndcg"]
    assert evaluate(model, test, relevant=1.0)["ndcg"] == everything["ndcg"]


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


def test_one_model_that_fails_does_not_take_the_others_with_it(ratings: Ratings, tmp_path: Path) -> None:
    told: list[str] = []
    result = compare(ratings, ["biases", build("svd", rank=2, learning_rate=1000.0)], splits=2, progress=told.append)
    assert [entry["name"] for entry in result["models"]] == ["biases"]
    assert result["left_out"][0]["name"] == "svd" and "lower learning_rate" in result["left_out"][0]["reason"]
    assert sum("svd" in line for line in told) == 2  # begun once, left out once
    assert "left out: svd" in markdown(result)
    write(result, tmp_path)
    assert "left out: svd" in (tmp_path / "compare.svg").read_text()
    assert json.loads((tmp_path / "compare.json").read_text())["left_out"] == result["left_out"]
    with pytest.raises(UserError, match="diverged"):
        compare(ratings, [build("svd", rank=2, learning_rate=1000.0)], splits=1)


def test_models_that_cannot_learn_from_the_data_are_named(ratings: Ratings) -> None:
    from imbik.recommend.evaluation.comparison import choose_models

    signed = Ratings.of(ratings.user_ids[ratings.users], ratings.item_ids[ratings.items], ratings.values - 3)
    chosen, left_out = choose_models(signed, lambda name: build(name, **({"rank": 2} if name == "svd" else {})))
    assert "nmf" not in {model.name for model in chosen} and [entry["name"] for entry in left_out] == ["nmf"]
    assert "not negative" in left_out[0]["reason"]
    few = Ratings.of("aabbc", "xyxyx", [1, 2, 3, 4, 5])  # 2 items: no default rank fits
    names = {entry["name"] for entry in choose_models(few)[1]}
    assert names == {"truncated-svd", "svd", "nmf", "pmf", "bpmf"}
    with pytest.raises(UserError, match="rank does not fit"):
        choose_models(few, rank_given=True)
    with pytest.raises(UserError, match="all ratings are equal"):
        choose_models(Ratings.of("aabb", "xyxy", [3, 3, 3, 3]))


def test_a_file_that_no_comparison_wrote_is_not_replaced(ratings: Ratings, tmp_path: Path) -> None:
    result = compare(ratings, ["biases", "global-mean"], splits=1)
    for name in ("compare.json", "compare.md", "compare.svg"):
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        (folder / name).write_text("mine")
        with pytest.raises(UserError, match="no comparison wrote"):
            write(result, folder)
        assert [path.name for path in folder.iterdir()] == [name] and (folder / name).read_text() == "mine"
    (tmp_path / "notes.txt").write_text("mine")
    for _ in range(2):
        write(result, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
