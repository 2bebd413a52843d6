"""What a task is: how logits become probabilities, probabilities become predictions, and which metric states its quality."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imbik.errors import UserError
from imbik.types import TaskName

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Task:
    """A task without its data.

    Attributes:
        name: see :data:`imbik.types.TaskName`.
        problem_type: the name that transformers' ``config.problem_type`` has for it.
        metric: what quality is stated in unless the user names another.
        decode: logits (N, L) -> probabilities (N, L), float32. Regression: the values themselves, (N, 1).
        predicted: probabilities (N, L) -> label indices (N,) int64, a 0/1 matrix (N, L) float32, or values (N,) float32.
    """

    name: TaskName
    problem_type: str
    metric: str
    decode: Callable[[NDArray[Any]], Floats]
    predicted: Callable[[NDArray[Any]], NDArray[Any]]


def softmax(logits: NDArray[Any]) -> Floats:
    """Rows of probabilities, ``exp(z - max z) / sum exp(z - max z)``: (N, L) -> (N, L) float32.

    >>> softmax(np.array([[1000.0, 1000.0]])).tolist()
    [[0.5, 0.5]]
    """
    shifted = np.asarray(logits, np.float64)
    shifted = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), np.float32)


def sigmoid(logits: NDArray[Any]) -> Floats:
    """``1 / (1 + exp(-z))`` element by element, without overflow at either end: (N, L) -> (N, L) float32.

    >>> sigmoid(np.array([[-1000.0, 0.0, 1000.0]])).tolist()
    [[0.0, 0.5, 1.0]]
    """
    small = np.exp(-np.abs(np.asarray(logits, np.float64)))
    return np.where(np.asarray(logits) >= 0, 1.0 / (1.0 + small), small / (1.0 + small)).astype(np.float32)


def identity(logits: NDArray[Any]) -> Floats:
    """Regression: the model's output is the value, (N, 1) -> (N, 1) float32."""
    return np.asarray(logits, np.float32)


def _most_probable(probabilities: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.argmax(probabilities, axis=-1), np.int64)


def _above_half(probabilities: NDArray[Any]) -> NDArray[Any]:
    return (np.asarray(probabilities) >= 0.5).astype(np.float32)


def _values(probabilities: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(probabilities, np.float32).reshape(len(probabilities))


TASKS: dict[TaskName, Task] = {
    "classification": Task("classification", "single_label_classification", "accuracy", softmax, _most_probable),
    "multi-label": Task("multi-label", "multi_label_classification", "micro-f1", sigmoid, _above_half),
    "regression": Task("regression", "regression", "spearman", identity, _values),
}


def check_pairs(trained: bool | None, given: bool, who: str = "model") -> None:
    """Refuse single texts for a model of pairs, and pairs for a model of single texts: it would answer both, and one of them wrongly.

    Args:
        trained: whether the model was trained on pairs; None, where that is not known, lets both through.
        given: whether it is given pairs.
        who: what the message calls it.

    Raises:
        UserError: saying which.

    >>> check_pairs(True, False)
    Traceback (most recent call last):
    ...
    imbik.errors.UserError: the model was trained on pairs of texts. Found: single texts. Do: name the second texts (--pair, --text-pair).
    """
    if trained is None or trained == given:
        return
    kinds = ("single texts", "pairs of texts")
    fix = "name the second texts (--pair, --text-pair)" if trained else "leave the second texts out: name one column with --text"
    raise UserError(f"the {who} was trained on {kinds[trained]}", found=kinds[given], fix=fix)
