"""The answers at the end of the demo: calibrated on dev, shown with what calibration changed."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from imbik.demo.story import MESSAGES, MESSAGES_TR, RECIPES, _answers
from imbik.recipes.recipe import load_recipe
from imbik.testing.tiny import tiny_splits


def certain(logits, targets):
    """Stand-in for the artefact: logits that are three times too sure."""
    return 3.0 * logits + 2.0 * np.eye(logits.shape[1])[targets]


@pytest.fixture
def answered(monkeypatch):
    """Answers of an artefact whose logits of dev and test are drawn."""
    splits = tiny_splits()
    draw = np.random.default_rng(0)
    count = len(splits.labels)

    def scores(texts):
        part = next((p for p in (splits.dev, splits.test) if list(p.texts) == list(texts)), None)
        targets = draw.integers(0, count, len(texts)) if part is None else np.asarray(part.targets)
        return certain(np.random.default_rng(len(texts)).normal(size=(len(texts), count)), targets).astype(np.float32)

    artefact = SimpleNamespace(scores=scores, labels=splits.labels)
    monkeypatch.setattr("imbik.runtime.predictor.load_artefact", lambda _folder: artefact)
    return splits, scores, _answers("artefact", splits, ("a", "b"))


def test_the_temperature_is_the_one_of_least_surprise_on_dev(answered):
    splits, scores, found = answered
    logits, targets = scores(splits.dev.texts).astype(float), np.asarray(splits.dev.targets)

    def surprise(weight):
        logs = weight * logits - np.log(np.exp(weight * logits).sum(1, keepdims=True))
        return -logs[np.arange(len(targets)), targets].mean()

    best = minimize_scalar(surprise, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-6}).x
    assert found.temperature == pytest.approx(1 / best, rel=1e-3)


def test_each_message_is_answered_with_a_label_and_its_probability(answered):
    splits, _, found = answered
    assert [line[0] for line in found.lines] == ["a", "b"]
    assert all(label in splits.labels and 1 / len(splits.labels) <= share <= 1 for _, label, share in found.lines)


def test_pairs_are_not_answered(answered):
    splits = answered[0]
    pairs = replace(splits, train=replace(splits.train, pairs=splits.train.texts))
    assert _answers("artefact", pairs, ("a",)) is None


def test_the_demo_knows_its_recipes_and_asks_the_same_in_both_languages():
    assert all(load_recipe(name).name == name for name in RECIPES)
    assert len(MESSAGES) == len(MESSAGES_TR)
