"""Ratings on any scale: dollars, percent, jokes from -10 to 10; the same data times ten is the same model times ten."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from imbik.recommend.data.ratings import Ratings
from imbik.recommend.data.scale import relative_counts
from imbik.recommend.data.splits import random_split
from imbik.recommend.evaluation.measures import evaluate
from imbik.recommend.models.bayesian import BayesianPMF
from imbik.recommend.models.model import MODELS
from imbik.recommend.models.registry import build

KINDS: dict[str, tuple[str, dict[str, object]]] = {
    "global-mean": ("global-mean", {}),
    "biases": ("biases", {}),
    "item-knn": ("item-knn", {"neighbors": 10}),
    "truncated-svd": ("truncated-svd", {"rank": 2}),
    "svd": ("svd", {"rank": 3, "epochs": 20}),
    "nmf": ("nmf", {"rank": 3, "epochs": 10}),
    "nmf without biases": ("nmf", {"rank": 3, "epochs": 10, "biases": False}),
    "pmf": ("pmf", {"rank": 2, "epochs": 10}),
    "pmf fixed": ("pmf", {"rank": 2, "epochs": 10, "prior": "fixed", "ridge": 2.0}),
    "pmf weighted": ("pmf", {"rank": 2, "epochs": 10, "prior": "weighted", "ridge": 0.1}),
    "pmf sgd": ("pmf", {"rank": 2, "epochs": 10, "solver": "sgd"}),
    "pmf constrained": ("pmf", {"rank": 2, "epochs": 10, "constrained": True}),
    "bpmf": ("bpmf", {"rank": 2, "burn_in": 5, "samples": 10}),
    "bpmf without biases": ("bpmf", {"rank": 2, "burn_in": 5, "samples": 10, "biases": False}),
}
PAIRS = (["u0", "u3", "u5", "u7"], ["i1", "i2", "i7", "i0"])


def rescaled(ratings: Ratings, factor: float, shift: float = 0.0) -> Ratings:
    return dataclasses.replace(ratings, values=(factor * ratings.values.astype(np.float64) + shift).astype(np.float32))


@pytest.mark.parametrize("factor", [10.0, 1e6, 0.001])
@pytest.mark.parametrize("kind", KINDS)
def test_ratings_times_ten_give_predictions_times_ten(kind: str, factor: float, ratings: Ratings) -> None:
    name, settings = KINDS[kind]
    before = build(name, **settings).fit(ratings).predict(*PAIRS)
    after = build(name, **settings).fit(rescaled(ratings, factor)).predict(*PAIRS)
    np.testing.assert_allclose(after / factor, before, rtol=2e-4)


@pytest.mark.parametrize("shift", [10.0, -3.0, -100.0])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("nmf")])
def test_a_shifted_scale_gives_shifted_predictions(kind: str, shift: float, ratings: Ratings) -> None:
    name, settings = KINDS[kind]
    before = build(name, **settings).fit(ratings).predict(*PAIRS)
    after = build(name, **settings).fit(rescaled(ratings, 1.0, shift)).predict(*PAIRS)
    np.testing.assert_allclose(after - shift, before, atol=1e-3)


def test_every_model_of_ratings_is_in_this_test() -> None:
    assert {name for name, model in MODELS.items() if model.feedback == "explicit"} == {name for name, _ in KINDS.values()}


@pytest.mark.parametrize("factor", [1e-6, 1e9])
def test_intervals_have_the_unit_of_the_ratings(factor: float, ratings: Ratings) -> None:
    settings = {"rank": 2, "burn_in": 5, "samples": 10}
    before = BayesianPMF(**settings).fit(ratings).interval(*PAIRS)  # type: ignore[arg-type]
    after = BayesianPMF(**settings).fit(rescaled(ratings, factor)).interval(*PAIRS)  # type: ignore[arg-type]
    np.testing.assert_allclose(after / factor, before, rtol=1e-3)


def test_progress_is_told_in_the_unit_of_the_ratings(ratings: Ratings) -> None:
    told: dict[float, list[float]] = {1.0: [], 100.0: []}
    for factor, losses in told.items():
        build("pmf", rank=2, epochs=3).fit(rescaled(ratings, factor), report=lambda done, total, value, to=losses: to.append(value))  # type: ignore[misc]
    np.testing.assert_allclose(np.array(told[100.0]) / 100, told[1.0], rtol=1e-3)


@pytest.mark.parametrize("name", ["pmf", "bpmf", "svd", "nmf"])
def test_a_model_is_continued_on_the_scale_it_had(name: str, ratings: Ratings) -> None:
    settings = KINDS[name][1]
    losses: dict[str, list[float]] = {"cold": [], "warm": []}
    data = rescaled(ratings, 1000.0)
    first = build(name, **settings).fit(data)
    for kind, start in (("cold", None), ("warm", first)):
        build(name, **settings).fit(data, start=start, report=lambda d, t, value, to=losses[kind]: to.append(value))  # type: ignore[misc]
    assert losses["warm"][0] < 0.95 * losses["cold"][0]


def jokes(seed: int = 0, users: int = 200, items: int = 60) -> Ratings:
    """Continuous ratings from -10 to 10 with two tastes, three cells of five: what Jester's are like."""
    rng = np.random.default_rng(seed)
    full = 0.7 + 2.5 * rng.standard_normal((users, 1)) + 1.2 * rng.standard_normal(items)
    full = full + 2.2 * rng.standard_normal((users, 2)) @ rng.standard_normal((2, items)) + 2.5 * rng.standard_normal((users, items))
    user, item = np.nonzero(rng.random((users, items)) < 0.6)
    return Ratings.of([f"u{u}" for u in user], [f"j{i}" for i in item], np.clip(full[user, item], -10, 10).round(2))


def test_factors_beat_biases_on_jokes() -> None:
    train, test = random_split(jokes(), 0.1, 0)
    errors = {name: evaluate(build(name).fit(train), test)["rmse"] for name in ("biases", "svd", "pmf")}
    assert errors["svd"] < 0.9 * errors["biases"] and errors["pmf"] < 0.8 * errors["biases"]
    covered = evaluate(BayesianPMF(rank=2, burn_in=50, samples=100).fit(train), test)["coverage"]
    assert abs(covered - 0.9) < 0.05


@pytest.mark.parametrize("name", ["logistic", "als", "most-popular"])
def test_ten_times_the_events_is_the_same_taste(name: str, events: Ratings) -> None:
    counts = np.random.default_rng(0).integers(1, 9, len(events)).astype(np.float32)
    settings = {"rank": 2} if name != "most-popular" else {}
    one, ten = (build(name, **settings).fit(dataclasses.replace(events, values=factor * counts)) for factor in (1, 10))
    np.testing.assert_allclose(one.predict(*PAIRS), ten.predict(*PAIRS), rtol=1e-4)


def test_counts_are_relative_to_their_median() -> None:
    assert relative_counts(np.array([1, 2, 4, 1000], np.float32)).tolist() == pytest.approx([1 / 3, 2 / 3, 4 / 3, 1000 / 3])
    assert relative_counts(np.ones(5, np.float32)).tolist() == [1.0] * 5


def test_amounts_of_all_sizes_are_learnt_or_told() -> None:
    """A few huge amounts among small ones: every model ends with numbers, or with advice that names its own settings."""
    rng = np.random.default_rng(1)
    user, item = np.nonzero(rng.random((80, 50)) < 0.3)
    amounts = np.exp(rng.normal(3, 2.5, len(user))).astype(np.float32)
    data = Ratings.of(user, item, amounts)
    for name, (model, settings) in KINDS.items():
        predicted = build(model, **settings).fit(data).predict(user[:50], item[:50])
        assert np.isfinite(predicted).all(), name


def test_what_32_bits_round_away_is_noted() -> None:
    stars = np.array([1, 2, 3, 4, 5, 3], np.float64)
    assert not any("32 bits" in note for note in Ratings.of("abcdef", "xyxyxy", stars + 1e3).notes)
    assert any("32 bits" in note for note in Ratings.of("abcdef", "xyxyxy", stars + 1e8).notes)
