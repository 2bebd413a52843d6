"""One contract for all models: learn, predict, recommend, save, load, continue, refuse."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from imbik.errors import UserError
from imbik.recommend.data.ratings import Ratings
from imbik.recommend.data.splits import random_split
from imbik.recommend.evaluation.measures import evaluate
from imbik.recommend.models.model import MODELS, Model
from imbik.recommend.models.registry import build, load

SMALL = {
    "bpmf": {"rank": 2, "samples": 40, "burn_in": 20}, "pmf": {"rank": 2}, "nmf": {"rank": 3, "ridge": 1.0},
    "svd": {"rank": 2, "ridge": 1.0}, "truncated-svd": {"rank": 2}, "logistic": {"rank": 2, "ridge": 0.5},
    "als": {"rank": 2}, "item-knn": {"neighbours": 10, "shrink": 2.0},
}  # fmt: skip
EXPLICIT = [n for n, m in MODELS.items() if m.feedback == "explicit"]
LONG = {"prior": "fixed", "epochs": 200, "learning_rate": 0.03, "ridge": 1.0}
BY_SGD: list[dict[str, object]] = [{"solver": "sgd", **LONG}, {"constrained": True, **LONG}]


def make(name: str, **more: object) -> Model:
    return build(name, **{**SMALL.get(name, {}), **more})


def fitted(name: str, ratings: Ratings, events: Ratings, **more: object) -> Model:
    return make(name, **more).fit(events if MODELS[name].feedback == "implicit" else ratings)


@pytest.mark.parametrize("name", MODELS)
def test_saved_model_predicts_bit_equal(name: str, ratings: Ratings, events: Ratings, tmp_path: Path) -> None:
    model = fitted(name, ratings, events)
    model.save(tmp_path / "m")
    again = load(tmp_path / "m")
    assert again.settings == model.settings and type(again) is type(model)
    users, items = ["u0", "u3", "u5"], ["i1", "i2", "i7"]
    assert np.array_equal(model.predict(users, items), again.predict(users, items))
    assert model.recommend("u1", 5) == again.recommend("u1", 5)


@pytest.mark.parametrize("name", MODELS)
def test_same_seed_same_arrays(name: str, ratings: Ratings, events: Ratings) -> None:
    first, second = fitted(name, ratings, events, seed=4), fitted(name, ratings, events, seed=4)
    assert all(np.array_equal(first.arrays_[k], second.arrays_[k]) for k in first.arrays_)


@pytest.mark.parametrize("name", ["bpmf", "pmf", "svd", "logistic"])
def test_threads_do_not_change_the_result(name: str, ratings: Ratings, events: Ratings) -> None:
    one, two = (fitted(name, ratings, events, threads=t) for t in (1, 2))
    assert all(np.array_equal(one.arrays_[k], two.arrays_[k]) for k in one.arrays_)


@pytest.mark.parametrize("name", MODELS)
def test_recommendations_are_unseen_sorted_and_follow_the_scores(name: str, ratings: Ratings, events: Ratings) -> None:
    model = fitted(name, ratings, events)
    data = events if MODELS[name].feedback == "implicit" else ratings
    user = int(data.users[0])
    mine = {str(data.item_ids[i]) for i in data.items[data.users == user]}
    found = model.recommend(data.user_ids[user], 8)
    assert not mine & {item for item, _ in found}
    assert [s for _, s in found] == sorted((s for _, s in found), reverse=True)
    scores = model.scores(np.array([user]))
    assert scores.shape == (1, data.shape[1]) and scores.dtype == np.float32 and np.isfinite(scores).all()
    everything = model.recommend(data.user_ids[user], 10_000, seen=True)
    assert len(everything) == data.shape[1]
    assert [item for item, _ in everything] == [str(data.item_ids[i]) for i in np.lexsort((np.arange(data.shape[1]), -scores[0]))]
    said = np.array([value for _, value in everything])
    clipped = said if data is events else said.clip(*model.range_)
    assert clipped == pytest.approx(model.predict([data.user_ids[user]] * len(everything), [item for item, _ in everything]), abs=1e-5)


@pytest.mark.parametrize(("name", "more"), [*((n, {}) for n in EXPLICIT if n != "global-mean"), *(("pmf", m) for m in BY_SGD)])
def test_learns_more_than_the_mean(name: str, more: dict[str, object], ratings: Ratings) -> None:
    train, test = random_split(ratings, 0.2, 1)
    mean = evaluate(make("global-mean").fit(train), test)["rmse"]
    rmse = evaluate(make(name, **more).fit(train), test)["rmse"]
    assert rmse < (0.95 if name == "biases" else 0.75) * mean


@pytest.mark.parametrize("name", ["bpmf", "pmf", "nmf", "svd", "logistic"])
@pytest.mark.parametrize("biases", [True, False])
def test_biases_are_optional(name: str, biases: bool, ratings: Ratings, events: Ratings) -> None:
    model = fitted(name, ratings, events, biases=biases)
    column = model.arrays_["users"][..., 0]
    assert (np.abs(column).max() > 0) == biases


@pytest.mark.parametrize("name", ["logistic", "als", "item-knn", "truncated-svd"])
def test_events_of_two_groups_are_told_apart(name: str, events: Ratings) -> None:
    train, test = random_split(events, 0.2, 0)
    measures = evaluate(make(name).fit(train), test, k=5)
    popular = evaluate(make("most-popular").fit(train), test, k=5)
    assert measures["mpr"] < 0.25 < popular["mpr"] and measures["ndcg"] > popular["ndcg"] + 0.1


def test_cold_users_and_items_follow_the_rules(ratings: Ratings) -> None:
    train = ratings.take((ratings.users != 0) & (ratings.items != 0))
    cold_user, cold_item = ratings.user_ids[0], ratings.item_ids[0]
    model = make("pmf", prior="fixed").fit(train)
    user = model.predict([cold_user], [ratings.item_ids[1]])[0]
    expected = model.facts_["mean"] + model.arrays_["items"][1, 0]
    assert user == pytest.approx(np.clip(expected, *train.range), abs=1e-5)
    assert model.predict([cold_user], [cold_item])[0] == pytest.approx(model.facts_["mean"], abs=1e-5)
    with pytest.raises(UserError, match=r"unknown user.*'nobody'"):
        model.predict(["nobody"], [cold_item])
    assert model.predict(["nobody"], [ratings.item_ids[1]], cold=True)[0] == pytest.approx(user, abs=1e-5)
    for name in EXPLICIT:
        assert np.isfinite(make(name).fit(train).predict(["nobody"], ["nothing"], cold=True)).all()


@pytest.mark.parametrize("name", [n for n, m in MODELS.items() if m.continues])
def test_continuing_is_better_than_starting_and_takes_new_ids(name: str, ratings: Ratings, events: Ratings) -> None:
    data = events if MODELS[name].feedback == "implicit" else ratings
    short = {"samples": 2, "burn_in": 0} if name == "bpmf" else {"epochs": 1}
    first = make(name).fit(data.take(data.users != 3))
    names = [str(x) for x in data.user_ids[data.users]] + ["new"]
    more = Ratings.of(names, [*data.item_ids[data.items].tolist(), data.item_ids[0]], np.append(data.values, data.values[0]),
                      implicit=data.implicit)  # fmt: skip
    losses: dict[bool, list[float]] = {False: [], True: []}
    ranks = {}
    for warm in (False, True):
        model = make(name, **short).fit(more, start=first if warm else None, report=lambda d, t, v, w=warm: losses[w].append(v))  # type: ignore[misc]
        ranks[warm] = evaluate(model, more)["mpr"]
    assert (ranks[True] < ranks[False]) if name == "logistic" else (losses[True][0] < losses[False][0])


def test_continuing_with_another_kind_is_refused(ratings: Ratings) -> None:
    with pytest.raises(UserError, match="own kind"):
        make("pmf").fit(ratings, start=make("nmf").fit(ratings))
    with pytest.raises(UserError, match="another shape"):
        make("pmf", rank=3).fit(ratings, start=make("pmf", rank=2).fit(ratings))
    with pytest.raises(UserError, match="one go"):
        make("biases").fit(ratings, start=make("biases").fit(ratings))


@pytest.mark.parametrize("name", [n for n in MODELS if n != "most-popular"])
def test_unusable_ratings_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="one rating is not enough"):
        make(name).fit(Ratings.of(["a"], ["x"], [1]))
    if MODELS[name].feedback == "explicit":
        with pytest.raises(UserError, match="all ratings are equal"):
            make(name).fit(Ratings.of("aabb", "xyxy", [3, 3, 3, 3]))
    if "rank" in make(name).settings:
        with pytest.raises(UserError, match="rank does not fit"):
            make(name, rank=3).fit(Ratings.of("aabb", "xyxy", [3, 1, 3, 2]))


def test_negative_values_are_refused_where_they_mean_nothing() -> None:
    bad = Ratings.of("aabb", "xyxy", [3, -1, 3, 2])
    with pytest.raises(UserError, match=r"user a, item y.*NMF.*-1"):
        make("nmf", rank=1).fit(bad)
    for name in ("logistic", "als"):
        with pytest.raises(UserError, match="events"):
            make(name, rank=1).fit(bad)
    assert np.isfinite(make("pmf", rank=1).fit(bad).predict(["a"], ["x"])).all()


def test_settings_are_checked(ratings: Ratings) -> None:
    for attempt, message in [
        (lambda: build("pmff"), "unknown model"), (lambda: build("pmf", rnak=3), "no such setting"),
        (lambda: build("pmf", rank="ten"), "wrong type"), (lambda: make("pmf", ridge=-1.0).fit(ratings), "out of range"),
        (lambda: make("pmf", ridge=np.inf).fit(ratings), "out of range"), (lambda: make("nmf", epochs=0).fit(ratings), r"epochs.*>= 1"),
        (lambda: make("svd", learning_rate=1000.0).fit(ratings), r"diverged.*learning_rate"),
        (lambda: make("pmf", prior="none").fit(ratings), "unknown prior"), (lambda: make("bpmf", samples=0).fit(ratings), "no samples"),
        (lambda: make("pmf").predict(["a"], ["b"]), "not been fitted"), (lambda: make("pmf").fit(ratings).recommend("u1", 0), "at least 1"),
        (lambda: make("bpmf").fit(ratings).interval(["u1"], ["i1"], 1.2), "level"),
    ]:  # fmt: skip
        with pytest.raises(UserError, match=message):
            attempt()


def test_folders_that_hold_no_model(ratings: Ratings, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no model"):
        load(tmp_path)
    make("biases").fit(ratings).save(tmp_path)
    arrays = (tmp_path / "arrays.safetensors").read_bytes()
    (tmp_path / "arrays.safetensors").write_bytes(arrays[:-3] + b"abc")
    with pytest.raises(UserError, match="do not belong together"):
        load(tmp_path)
    make("biases").fit(ratings).save(tmp_path)
    text = (tmp_path / "model.json").read_text()
    (tmp_path / "model.json").write_text("{not json")
    with pytest.raises(UserError, match="cannot be read"):
        load(tmp_path)
    (tmp_path / "model.json").write_text(text.replace('"format": 1', '"format": 99'))
    with pytest.raises(UserError, match="another format"):
        load(tmp_path)


def test_a_failed_save_keeps_the_old_model(ratings: Ratings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = make("biases").fit(ratings)
    old.save(tmp_path)
    monkeypatch.setattr("json.dumps", lambda *a, **k: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        make("biases", user_ridge=50.0).fit(ratings).save(tmp_path)
    monkeypatch.undo()
    assert load(tmp_path).settings == old.settings


@pytest.mark.parametrize("before", [True, False])
def test_a_save_that_is_killed_between_its_two_files_loses_nothing(
    before: bool, ratings: Ratings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if before:
        make("biases").fit(ratings).save(tmp_path)
    replace = os.replace

    def killed(source: Path, target: Path) -> None:
        if target.name == "model.json":
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr("os.replace", killed)
    new = make("biases", user_ridge=50.0).fit(ratings)
    with pytest.raises(KeyboardInterrupt):
        new.save(tmp_path)
    monkeypatch.undo()
    again = load(tmp_path)
    assert again.settings == new.settings and np.array_equal(again.predict(["u1"], ["i1"]), new.predict(["u1"], ["i1"]))


@pytest.mark.parametrize("name", ["bpmf", "pmf", "nmf", "svd", "biases"])
def test_models_of_ratings_refuse_events_of_one_weight(name: str, events: Ratings) -> None:
    with pytest.raises(UserError, match=r"all ratings are equal.*logistic or als"):
        make(name).fit(events)


def test_public_names_are_things_and_not_the_modules_that_hold_them() -> None:
    import types

    import imbik.recommend

    for _ in range(2):  # importing a module sets a name on the package: the second look must see the same
        found = {name: getattr(imbik.recommend, name) for name in imbik.recommend.__all__}
        assert not [name for name, thing in found.items() if isinstance(thing, types.ModuleType)]
    with pytest.raises(AttributeError):
        _ = imbik.recommend.nothing


@pytest.mark.parametrize(("name", "more"), [*((n, {}) for n in MODELS), ("pmf", {"solver": "sgd"}), ("pmf", {"prior": "fixed"})])
def test_advice_names_settings_that_the_model_has_and_uses(name: str, more: dict[str, object]) -> None:
    model = build(name, **more)
    everybody = {setting for kind in MODELS.values() for setting in build(kind.name).settings}
    named = everybody & set(model._remedy().replace(",", " ").replace("=", " ").split())
    assert named <= set(model.settings)
    by_descent = name == "svd" or more == {"solver": "sgd"}
    assert ("learning_rate" in named) == by_descent


def test_a_fit_that_ends_early_leaves_no_model(ratings: Ratings) -> None:
    model = make("pmf").fit(ratings)

    def stop(done: int, total: int, value: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(ratings, report=stop)
    with pytest.raises(UserError, match="not been fitted"):
        model.predict(["u1"], ["i1"])
