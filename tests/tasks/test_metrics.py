from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray
from sklearn import metrics as sk

from imbik.errors import UserError
from imbik.tasks.formulas import accuracy, calibration_error, correct, mae, mse, pearson, ranks, rmse, spearman
from imbik.tasks.registry import less_is_better, metric_for, metric_named, registered, score, task_of

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
    assert float(mse(values, targets)) == pytest.approx(sk.mean_squared_error(targets, values))
    assert float(mae(values, targets)) == pytest.approx(sk.mean_absolute_error(targets, values))
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
    table = task_of("classification").per_class(PROBABILITIES, TARGETS, names)
    assert table is not None
    expected = sk.precision_recall_fscore_support(TARGETS, PREDICTED, labels=range(6), zero_division=0)
    for i, name in enumerate(names):
        got = table[name]
        assert (got["precision"], got["recall"], got["f1"]) == pytest.approx([float(e[i]) for e in expected[:3]])
        assert got["support"] == expected[3][i]
    many = task_of("multi-label").per_class(MANY_P, MANY, names[:5])
    assert many is not None and many["e"]["support"] == 0
    assert many["b"]["f1"] == pytest.approx(sk.f1_score(MANY[:, 1], MANY_P[:, 1] >= 0.5))
    assert task_of("regression").per_class(np.zeros((3, 1)), np.zeros(3), ["score"]) is None


def test_ece_against_a_plain_loop() -> None:
    p = np.random.default_rng(1).dirichlet(np.ones(4), 500)
    t = np.random.default_rng(2).integers(0, 4, 500)
    confidence, right = p.max(1), p.argmax(1) == t
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert task_of("classification").calibration(p, t) == pytest.approx(expected)
    sure = np.eye(4)[t]
    assert task_of("classification").calibration(sure, t) == 0
    assert task_of("classification").calibration(sure, (t + 1) % 4) == 1
    assert task_of("regression").calibration(np.zeros((3, 1)), np.zeros(3)) is None
    assert task_of("multi-label").calibration(MANY, MANY) == 0


def test_a_confidence_on_an_edge_belongs_to_the_bin_below_it() -> None:
    """Bin m is ((m - 1) / M, m / M] (Guo et al. 2017, section 2); 0 belongs to the first."""
    confidence = np.array([0.0, 0.25, 0.3, 0.5, 0.6, 0.75, 0.8, 1.0])
    right = np.array([1, 0, 1, 0, 0, 1, 1, 0], bool)
    bins = [(0, 1), (2, 3), (4, 5), (6, 7)]  # (0, 1/4], (1/4, 1/2], ...
    expected = sum(len(b) / 8 * abs(right[list(b)].mean() - confidence[list(b)].mean()) for b in bins)
    assert calibration_error(confidence, right, bins=4) == pytest.approx(expected)
    # fifteen of equal width unless another number is given: 0.34 and 0.39 share the sixth, 0.41 lies in the seventh
    confidence, right = np.array([0.34, 0.39, 0.41]), np.array([True, False, True])
    assert calibration_error(confidence, right) == pytest.approx((abs(1 - 0.73) + abs(1 - 0.41)) / 3)


def test_a_row_of_several_labels_is_right_when_all_of_them_are() -> None:
    one, other = np.array([[1, 0], [1, 1], [0, 0]]), np.array([[1, 0], [1, 0], [0, 0]])
    assert correct(one, other).tolist() == [True, False, True]
    assert accuracy(one, other) == pytest.approx(sk.accuracy_score(other, one))


def test_which_metrics_are_shares() -> None:
    """Shown in per cent: shares from 0 to 1, and no correlation or error."""
    assert {m.name for task in registered().values() for m in task.metrics if m.share and task.one_row} == {
        "accuracy",
        "macro-f1",
        "micro-f1",
    }


def test_defaults_and_unknown_names() -> None:
    defaults = {"classification": "accuracy", "multi-label": "micro-f1", "regression": "spearman"}
    defaults |= {"question-answering": "squad-f1", "token-classification": "entity-f1"}
    assert {task: metric_for(task, None) for task in defaults} == defaults
    assert metric_for("classification", "mcc") == "mcc"
    with pytest.raises(UserError, match="--metric: no such metric for classification"):
        metric_for("classification", "spearman")
    with pytest.raises(UserError, match="accuracy or macro-f1 or micro-f1 or mcc"):
        score("bleu", PROBABILITIES, TARGETS, "classification")


def test_every_metric_knows_which_way_is_better() -> None:
    errors = {metric.name for task in registered().values() for metric in task.metrics if metric.less_is_better}
    assert errors == {"rmse", "mse", "mae"}
    assert less_is_better("rmse") and not less_is_better("accuracy") and not less_is_better("bleu") and not less_is_better(None)
    error, share = metric_named("rmse"), metric_named("accuracy")
    assert error is not None and share is not None
    assert error.better(0.1, 0.2) and not error.better(0.2, 0.1) and share.better(0.2, 0.1)
    assert error.merit(error.merit(0.3)) == 0.3 and error.merit(0.1) > error.merit(0.2)


@pytest.mark.parametrize(
    ("metric", "value", "reference", "kept"),
    [
        ("accuracy", 0.45, 0.9, 0.5),
        ("rmse", 2.0, 1.0, 0.5),  # twice the error keeps half
        ("rmse", 0.0, 1.0, 1.0),  # no error at all is not worse than the reference
        ("rmse", 0.1, 0.0, 0.0),  # the reference makes none
        ("spearman", -0.1, -0.2, None),  # of nothing, or less, there is no share
        ("spearman", 0.3, -0.2, None),
        ("mcc", 0.0, 0.0, None),
        ("mcc", 0.5, 0.0, None),
        ("accuracy", 0.0, 0.5, 0.0),
        ("accuracy", 0.9, 0.5, 1.8),  # more than all is told as such
        ("rmse", 0.0, 0.0, 1.0),
        ("rmse", 0.5, 2.0, 4.0),
    ],
)
def test_the_share_that_is_kept(metric: str, value: float, reference: float, kept: float | None) -> None:
    known = metric_named(metric)
    assert known is not None and known.kept(value, reference) == (None if kept is None else pytest.approx(kept))
