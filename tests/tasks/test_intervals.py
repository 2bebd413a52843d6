from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from imbik.errors import UserError
from imbik.tasks import intervals
from imbik.tasks.intervals import bootstrap_interval, paired_retention
from imbik.tasks.outputs import ragged, take
from imbik.tasks.registry import less_is_better, registered, score
from imbik.tasks.spans.answers import answer_row
from imbik.types import TaskName


def example(task: TaskName, n: int = 300, labels: int = 5, seed: int = 0) -> tuple[NDArray, NDArray, NDArray]:
    """Targets, a good teacher's and a worse student's probabilities."""
    rng = np.random.default_rng(seed)
    if task == "regression":
        targets = rng.normal(size=n).astype(np.float32)
        return targets, (targets + rng.normal(size=n) * 0.3)[:, None], (targets + rng.normal(size=n) * 0.6)[:, None]
    if task == "multi-label":
        targets = (rng.random((n, labels)) < 0.3).astype(np.float32)
        noisy = [np.clip(targets + rng.normal(size=targets.shape) * s, 0, 1) for s in (0.3, 0.6)]
        return targets, noisy[0], noisy[1]
    if task == "question-answering":
        words = ["one", "two", "three", "four", "five", "six"]
        gold = [" ".join(rng.choice(words, rng.integers(1, 5))) for _ in range(n)]
        cut = [[text if rng.random() > share else text[: rng.integers(2, 9)] for text in gold] for share in (0.1, 0.6)]
        said = [{"text": np.array(texts, object), "start": np.zeros(n, np.int64)} for texts in cut]
        return ragged(answer_row([(0, text)]) for text in gold), said[0], said[1]
    if task == "token-classification":
        gold = [[(10 * k, 10 * k + 4, rng.integers(labels)) for k in range(rng.integers(4))] for _ in range(n)]
        found = [ragged(_with_mistakes(row, rng, share) for row in gold) for share in (0.1, 0.4)]
        return ragged(_spans(row) for row in gold), *({"entities": entities} for entities in found)
    if task == "embedding":
        targets = rng.random(n).astype(np.float32)
        angles = [np.arccos(np.clip(targets + rng.normal(size=n) * s, -1, 1)) for s in (0.1, 0.6)]
        # two vectors a row with these angles between them
        pairs = [np.stack([np.stack([np.ones(n), np.zeros(n)], 1), np.stack([np.cos(a), np.sin(a)], 1)], 1) for a in angles]
        return targets, pairs[0], pairs[1]
    targets = rng.integers(0, labels, n)
    noisy = [np.eye(labels)[targets] + rng.random((n, labels)) * s for s in (1.2, 1.8)]
    return targets, noisy[0], noisy[1]


def _spans(row: list) -> NDArray:
    return np.array(row, np.int64).reshape(-1, 3)


def _with_mistakes(row: list, rng: np.random.Generator, share: float) -> NDArray:
    """The same entities, some with another end, some left out."""
    moved = [(start, end + (rng.random() < share), kind) for start, end, kind in row if rng.random() > share / 2]
    return _spans(moved)


CASES = [(task.name, metric.name) for task in registered().values() for metric in task.metrics]


@pytest.mark.parametrize(("task", "metric"), CASES)
def test_interval_equals_a_plain_loop(task: TaskName, metric: str) -> None:
    targets, teacher, _ = example(task)
    rng = np.random.default_rng(7)
    drawn = rng.integers(0, len(targets), (50, len(targets)))
    plain = [score(metric, take(teacher, rows), targets[rows], task) for rows in drawn]
    low, high = bootstrap_interval(metric, teacher, targets, task, resamples=50, seed=7)
    np.testing.assert_allclose((low, high), np.percentile(plain, (2.5, 97.5)), rtol=1e-6)
    assert low <= score(metric, teacher, targets, task) <= high


@pytest.mark.parametrize(("task", "metric"), CASES)
def test_retention_equals_a_plain_loop(task: TaskName, metric: str) -> None:
    targets, teacher, student = example(task)
    drawn = np.random.default_rng(3).integers(0, len(targets), (50, len(targets)))
    ratios = []
    for rows in drawn:
        a, b = score(metric, take(student, rows), targets[rows], task), score(metric, take(teacher, rows), targets[rows], task)
        ratios.append(b / a if less_is_better(metric) else a / b)
    value, low, high = paired_retention(metric, student, teacher, targets, task, resamples=50, seed=3)
    np.testing.assert_allclose((low, high), np.percentile(ratios, (2.5, 97.5)), rtol=1e-6)
    assert value < 1 and low <= value <= high


def test_pairing_makes_the_interval_narrower() -> None:
    targets, teacher, _ = example("classification", n=2000)
    student = teacher.copy()
    student[:20] = np.roll(student[:20], 1, axis=1)  # differs on 20 items only
    _, low, high = paired_retention("accuracy", student, teacher, targets, "classification")
    alone = bootstrap_interval("accuracy", student, targets, "classification")
    assert high - low < (alone[1] - alone[0]) / 2


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for trial in range(200):
        right = rng.random(200) < 0.8
        low, high = bootstrap_interval(
            "accuracy", np.eye(2)[right.astype(int)], np.ones(200, int), "classification", resamples=200, seed=trial
        )
        hits += low <= 0.8 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_seed_decides() -> None:
    targets, teacher, _ = example("classification")
    first = bootstrap_interval("accuracy", teacher, targets, "classification", seed=1)
    assert first == bootstrap_interval("accuracy", teacher, targets, "classification", seed=1)
    assert first != bootstrap_interval("accuracy", teacher, targets, "classification", seed=2)


def test_teacher_without_a_score_gives_nan() -> None:
    wrong = np.eye(2)[np.ones(10, int)]
    assert all(np.isnan(paired_retention("accuracy", wrong, wrong, np.zeros(10, int), "classification")))


def test_of_a_perfect_teacher_the_students_own_score_is_kept() -> None:
    targets, _, student = example("classification")
    value, low, high = paired_retention("accuracy", student, np.eye(5)[targets], targets, "classification")
    assert value == pytest.approx(score("accuracy", student, targets, "classification"))
    assert (low, high) == pytest.approx(bootstrap_interval("accuracy", student, targets, "classification"))


def test_unknown_metric() -> None:
    with pytest.raises(UserError, match="no such metric for regression"):
        bootstrap_interval("accuracy", np.zeros((3, 1)), np.zeros(3), "regression")


@pytest.mark.parametrize(("metric", "task"), [("accuracy", "classification"), ("mcc", "classification"), ("rmse", "regression")])
def test_draws_in_which_the_ratio_has_no_meaning_do_not_count(metric: str, task: TaskName) -> None:
    """Of a handful of items some draws hold none that the teacher (of an error: the student) is not 0 on."""
    targets = np.array([0, 1, 0, 1, 1, 0])
    if task == "regression":
        targets = targets.astype(np.float32)
        teacher, student = targets + np.array([0.5, 0.4, 0.3, 0.6, 0.2, 0.1]), targets + np.array([0.3, 0, 0, 0, 0, 0])
        teacher, student = teacher[:, None], student[:, None]
    else:
        # of a teacher below chance, whose mcc is negative, nothing could be kept
        said = [0, 1, 1, 0, 1, 0] if metric == "mcc" else [0, 0, 1, 0, 1, 1]
        teacher, student = np.eye(2)[said], np.eye(2)[[0, 1, 0, 0, 0, 1]]
    drawn = np.random.default_rng(0).integers(0, 6, (300, 6))
    pairs = [(score(metric, student[rows], targets[rows], task), score(metric, teacher[rows], targets[rows], task)) for rows in drawn]
    pairs = [(teacher, student) if less_is_better(metric) else (student, teacher) for student, teacher in pairs]
    ratios = [above / below for above, below in pairs if below > 0]
    assert 50 < len(ratios) < 300
    _, low, high = paired_retention(metric, student, teacher, targets, task, resamples=300, seed=0)
    np.testing.assert_allclose((low, high), np.percentile(ratios, (2.5, 97.5)), rtol=1e-5)


def test_drawing_in_parts_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, teacher, student = example("classification", n=40)
    arguments = ("macro-f1", student, teacher, targets, "classification")
    whole = paired_retention(*arguments, resamples=50), bootstrap_interval("mcc", student, targets, "classification", resamples=50)
    for cells in (1, 40 * 7):  # a draw at a time, seven at a time
        monkeypatch.setattr(intervals, "_CELLS", cells)
        parts = paired_retention(*arguments, resamples=50), bootstrap_interval("mcc", student, targets, "classification", resamples=50)
        np.testing.assert_allclose(parts[0], whole[0], rtol=1e-6)
        np.testing.assert_allclose(parts[1], whole[1], rtol=1e-6)


def test_a_thousand_draws_are_made_and_the_same_ones_each_time() -> None:
    targets, teacher, student = example("regression", n=60)
    arguments = ("rmse", student, teacher, targets, "regression")
    assert paired_retention(*arguments) == paired_retention(*arguments, resamples=1000, seed=0)
    assert paired_retention(*arguments) != paired_retention(*arguments, resamples=999)
    alone = ("mae", student, targets, "regression")
    assert bootstrap_interval(*alone) == bootstrap_interval(*alone, resamples=1000, seed=0)
    assert bootstrap_interval(*alone) != bootstrap_interval(*alone, resamples=999)


@pytest.mark.parametrize("teacher", [0.0, -0.5])
def test_beside_a_teacher_that_is_no_better_than_nothing_no_share_is_stated(teacher):
    targets = np.arange(8.0)
    values = targets.copy()
    of_teacher = np.full(8, 3.0) if teacher == 0.0 else -targets + np.array([0, 9, 0, -9, 0, 9, 0, -9])
    assert all(np.isnan(paired_retention("pearson", values[:, None], of_teacher[:, None], targets, "regression")))
