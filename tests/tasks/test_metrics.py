from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray
from sklearn import metrics as sk

from imbik.errors import UserError
from imbik.tasks.metrics import METRICS, ece, metric_for, pearson, per_class, ranks, rmse, score, spearman

RNG = np.random.default_rng(0)
TARGETS = RNG.integers(0, 4, 200)
PROBABILITIES = np.eye(6)[TARGETS] * 0.6 + RNG.random((200, 6)) * 0.9  # labels 4 and 5 never occur, but are predicted
PREDICTED = PROBABILITIES.argmax(1)
MANY = (RNG.random((200, 5)) < [0.5, 0.3, 0.2, 0.1, 0.0]).astype(np.float32)
MANY_P = np.clip(MANY * 0.5 + RNG.random((200, 5)) * 0.6, 0, 1)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("accuracy", sk.accuracy_score(TARGETS, PREDICTED)),
        ("macro-f1", sk.f1_score(TARGETS, PREDICTED, average="macro", zero_division=0)),
        ("micro-f1", sk.f1_score(TARGETS, PREDICTED, average="micro")),
        ("mcc", sk.matthews_corrcoef(TARGETS, PREDICTED)),
    ],
)
def test_classification_against_sklearn(metric: str, expected: float) -> None:
    assert score(metric, PROBABILITIES, TARGETS, "classification") == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("accuracy", sk.accuracy_score(MANY, MANY_P >= 0.5)),
        ("micro-f1", sk.f1_score(MANY, MANY_P >= 0.5, average="micro")),
        ("macro-f1", sk.f1_score(MANY, MANY_P >= 0.5, average="macro", zero_division=0)),
    ],
)
def test_multi_label_against_sklearn(metric: str, expected: float) -> None:
    assert score(metric, MANY_P, MANY, "multi-label") == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("values", [RNG.normal(size=100), RNG.integers(0, 5, 100).astype(float), np.arange(100.0)])
def test_correlations_against_scipy(values: NDArray) -> None:
    targets = values + RNG.integers(-2, 3, 100)
    assert float(pearson(values, targets)) == pytest.approx(scipy.stats.pearsonr(values, targets)[0])
    assert float(spearman(values, targets)) == pytest.approx(scipy.stats.spearmanr(values, targets)[0])
    np.testing.assert_allclose(ranks(values), scipy.stats.rankdata(values))
    assert float(rmse(values, targets)) == pytest.approx(sk.root_mean_squared_error(targets, values))
    got = score("spearman", values[:, None], targets.astype(np.float32), "regression")
    assert got == pytest.approx(scipy.stats.spearmanr(values.astype(np.float32), targets.astype(np.float32))[0])


def test_many_rows_at_once() -> None:
    values, targets = RNG.integers(0, 9, (7, 40)), RNG.integers(0, 9, (7, 40))
    for row in range(7):
        assert spearman(values, targets)[row] == pytest.approx(scipy.stats.spearmanr(values[row], targets[row])[0])


def test_constant_predictions_score_zero() -> None:
    flat = np.ones((5, 1), np.float32)
    assert score("spearman", flat, np.arange(5.0), "regression") == 0
    assert score("pearson", flat, np.arange(5.0), "regression") == 0
    same = np.eye(2)[np.zeros(5, int)]
    assert score("mcc", same, np.array([0, 0, 1, 1, 1]), "classification") == 0
    assert score("micro-f1", np.zeros((5, 2)), np.zeros((5, 2)), "multi-label") == 0


def test_per_class_against_sklearn() -> None:
    names = ["a", "b", "c", "d", "e", "f"]
    table = per_class(PROBABILITIES, TARGETS, "classification", names)
    assert table is not None
    expected = sk.precision_recall_fscore_support(TARGETS, PREDICTED, labels=range(6), zero_division=0)
    for i, name in enumerate(names):
        got = table[name]
        assert (got["precision"], got["recall"], got["f1"]) == pytest.approx([float(e[i]) for e in expected[:3]])
        assert got["support"] == expected[3][i]
    many = per_class(MANY_P, MANY, "multi-label", names[:5])
    assert many is not None and many["e"]["support"] == 0
    assert many["b"]["f1"] == pytest.approx(sk.f1_score(MANY[:, 1], MANY_P[:, 1] >= 0.5))
    assert per_class(np.zeros((3, 1)), np.zeros(3), "regression", ["score"]) is None


def test_ece_against_a_plain_loop() -> None:
    p = np.random.default_rng(1).dirichlet(np.ones(4), 500)
    t = np.random.default_rng(2).integers(0, 4, 500)
    confidence, right = p.max(1), p.argmax(1) == t
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert ece(p, t, "classification") == pytest.approx(expected)
    sure = np.eye(4)[t]
    assert ece(sure, t, "classification") == 0
    assert ece(sure, (t + 1) % 4, "classification") == 1
    assert ece(np.zeros((3, 1)), np.zeros(3), "regression") is None
    assert ece(MANY, MANY, "multi-label") == 0


def test_defaults_and_unknown_names() -> None:
    assert [metric_for(task, None) for task in METRICS] == ["accuracy", "micro-f1", "spearman"]
    assert metric_for("classification", "mcc") == "mcc"
    with pytest.raises(UserError, match="--metric: no such metric for classification"):
        metric_for("classification", "spearman")
    with pytest.raises(UserError, match="accuracy or macro-f1 or micro-f1 or mcc"):
        score("bleu", PROBABILITIES, TARGETS, "classification")
