"""What a model's outputs are worth, with scikit-learn's figures; what is missing gives nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as sk

from imbik.tasks.retention import agreement, quality, retention
from imbik.types import Examples, Splits

RNG = np.random.default_rng(0)
TARGETS = RNG.integers(0, 3, 80)
TEACHER, STUDENT = (np.eye(3)[TARGETS] * size + RNG.normal(size=(80, 3)) for size in (3.0, 1.5))
TEST = Examples([f"text {i}" for i in range(80)], None, TARGETS, "")
SPLITS = Splits(TEST, replace(TEST, targets=None), TEST, "classification", ("a", "b", "c"), "accuracy", "made", "print")


def test_quality_has_its_figure_its_interval_and_its_rows():
    found = quality(SPLITS, "test", TEST, {"test": STUDENT})
    expected = sk.accuracy_score(TARGETS, STUDENT.argmax(1))
    assert (found["metric"], found["n"], found["split"]) == ("accuracy", 80, "test")
    assert found["value"] == pytest.approx(expected)
    # a share of 80 items: the normal approximation is near
    half = 1.96 * np.sqrt(expected * (1 - expected) / 80)
    np.testing.assert_allclose((found["low"], found["high"]), (expected - half, expected + half), atol=0.025)


@pytest.mark.parametrize(("examples", "outputs"), [(None, {"test": STUDENT}), (SPLITS.dev, {"test": STUDENT}), (TEST, {"dev": STUDENT})])
def test_without_rows_targets_or_outputs_there_is_no_quality(examples, outputs):
    assert quality(SPLITS, "test", examples, outputs) == {}


def test_retention_is_the_ratio_of_the_scores():
    found = retention(SPLITS, STUDENT, TEACHER)
    own, base = (sk.accuracy_score(TARGETS, logits.argmax(1)) for logits in (STUDENT, TEACHER))
    assert found["value"] == pytest.approx(own / base) and found["low"] < found["value"] < found["high"]


def test_without_a_baseline_targets_or_a_score_of_it_there_is_no_retention():
    assert retention(SPLITS, STUDENT, None) is None
    assert retention(replace(SPLITS, test=replace(TEST, targets=None)), STUDENT, TEACHER) is None
    wrong = np.eye(3)[(TARGETS + 1) % 3]
    assert retention(SPLITS, STUDENT, wrong) is None


def test_agreement_is_the_share_of_equal_answers():
    assert agreement("classification", STUDENT, TEACHER) == pytest.approx(np.mean(STUDENT.argmax(1) == TEACHER.argmax(1)))
    assert agreement("classification", STUDENT, None) is None
    assert agreement("regression", STUDENT[:, :1], TEACHER[:, :1]) is None
