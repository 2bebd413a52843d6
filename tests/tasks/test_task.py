from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from imbik.errors import UserError
from imbik.tasks.classification import softmax
from imbik.tasks.multi_label import sigmoid
from imbik.tasks.registry import registered, task_of

TASKS = registered()


def test_softmax_against_scipy() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 7)) * 30
    np.testing.assert_allclose(softmax(logits), special.softmax(logits, axis=1), rtol=1e-6, atol=1e-12)


def test_sigmoid_against_scipy() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 7)) * 30
    np.testing.assert_allclose(sigmoid(logits), special.expit(logits), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("task", [name for name, task in TASKS.items() if task.one_row])
def test_extreme_logits_stay_finite_and_float32(task: str) -> None:
    logits = np.array([[1e4, -1e4], [-1e4, 1e4], [0.0, 0.0]], np.float32)
    with np.errstate(all="raise", under="ignore"):
        probabilities = TASKS[task].decode(logits)
    assert probabilities.dtype == np.float32 and probabilities.shape == logits.shape
    assert np.isfinite(probabilities).all()


def test_predictions() -> None:
    classes = TASKS["classification"].predicted(np.array([[0.2, 0.8], [0.9, 0.1]], np.float32))
    assert classes.tolist() == [1, 0] and classes.dtype == np.int64
    several = TASKS["multi-label"].predicted(np.array([[0.2, 0.8], [0.5, 0.1]], np.float32))
    assert several.tolist() == [[0, 1], [1, 0]] and several.dtype == np.float32
    values = TASKS["regression"].predicted(np.array([[2.5], [-1.0]], np.float32))
    assert values.tolist() == [2.5, -1.0] and values.shape == (2,)


def test_names_are_those_of_transformers() -> None:
    shipped = {
        "classification": "single_label_classification",
        "multi-label": "multi_label_classification",
        "regression": "regression",
    }
    assert {name: TASKS[name].problem_type for name in shipped} == shipped
    assert all(name == task.name for name, task in TASKS.items())


def test_an_unknown_task_is_refused_with_those_there_are() -> None:
    with pytest.raises(UserError, match=" or ".join(TASKS)):
        task_of("translation")
