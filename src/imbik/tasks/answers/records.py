"""Answers as rows and as columns of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

LABEL_TYPES: Mapping[str, type] = {"label": str, "probability": float}
"""Types of the fields of an answer that is a list of labels."""


def flat(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer as one row: the fields of a list's items are numbered from the second item on.

    >>> flat({"text": "a", "labels": [{"label": "x", "probability": 0.8}, {"label": "y", "probability": 0.2}]})
    {'text': 'a', 'label': 'x', 'probability': 0.8, 'label_2': 'y', 'probability_2': 0.2}
    """
    row: dict[str, Any] = {}
    for name, value in answer.items():
        items = [{name: value}] if not isinstance(value, list) else value
        for number, one in enumerate(items, 1):
            row |= {f"{key}{ending(number)}": cell for key, cell in one.items()}
    return row


def ending(number: int) -> str:
    """Return what the name of a field of the item ``number`` ends in."""
    return "" if number == 1 else f"_{number}"


def most_probable(probabilities: NDArray[np.float32], top: int) -> NDArray[np.int64]:
    """Return the indices of the ``top`` most probable labels of ``(N, L)``, best first: ``(N, top)``.

    Stable: labels of one probability keep their order on every machine.

    >>> most_probable(np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]], np.float32), 2).tolist()
    [[1, 2], [0, 1]]
    """
    if top == 1:  # the first of the largest, as a stable sort has it
        return np.asarray(probabilities.argmax(axis=1), np.int64)[:, None]
    return np.asarray((-probabilities).argsort(axis=1, kind="stable")[:, :top], np.int64)


def label_columns(probabilities: NDArray[np.float32], labels: Sequence[str], top: int) -> dict[str, Sequence[Any]]:
    """Return ``label``, ``probability``, ``label_2``, … of ``(N, L)`` as lists of N.

    >>> label_columns(np.array([[0.25, 0.75]], np.float32), ["no", "yes"], 3)
    {'label': ['yes'], 'probability': [0.75], 'label_2': ['no'], 'probability_2': [0.25]}
    """
    best = most_probable(probabilities, top)
    columns: dict[str, Sequence[Any]] = {}
    for place in range(best.shape[1]):
        chosen = best[:, place]
        columns[f"label{ending(place + 1)}"] = [labels[index] for index in chosen.tolist()]
        columns[f"probability{ending(place + 1)}"] = np.take_along_axis(probabilities, chosen[:, None], axis=1)[:, 0].tolist()
    return columns
