"""What a model's logits are worth: quality with its interval, and what it keeps of a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from imbik.tasks.intervals import bootstrap_interval, paired_retention
from imbik.tasks.metrics import score
from imbik.tasks.task import TASKS
from imbik.types import Examples, TaskName

Logits = NDArray[np.float32]


class Evaluable(Protocol):
    """Data to measure on; :class:`imbik.types.Splits` and :class:`imbik.data.load.Evaluation` are such."""

    @property
    def test(self) -> Examples:
        """What is reported on."""

    @property
    def dev(self) -> Examples | None:
        """What is chosen on."""

    @property
    def task(self) -> TaskName:
        """See :data:`imbik.types.TaskName`."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names in the order of the logits."""

    @property
    def metric(self) -> str:
        """What quality is stated in."""

    @property
    def source(self) -> str:
        """Where the data came from."""


def quality(data: Evaluable, split: str, examples: Examples | None, logits: Mapping[str, Logits]) -> dict[str, Any]:
    """``{metric, value, low, high, n, split}`` with a 95 % bootstrap interval; empty when the split has no targets."""
    if examples is None or examples.targets is None or split not in logits:
        return {}
    probabilities = TASKS[data.task].decode(logits[split])
    low, high = bootstrap_interval(data.metric, probabilities, examples.targets, data.task)
    value = score(data.metric, probabilities, examples.targets, data.task)
    return {"metric": data.metric, "value": value, "low": low, "high": high, "n": len(examples.texts), "split": split}


def retention(data: Evaluable, logits: Logits, reference: Logits | None) -> dict[str, Any] | None:
    """``{value, low, high}``: test quality over the baseline's, on the same resampled items; None without a baseline."""
    if reference is None or data.test.targets is None:
        return None
    decode = TASKS[data.task].decode
    value, low, high = paired_retention(data.metric, decode(logits), decode(reference), data.test.targets, data.task)
    return None if np.isnan(value) else {"value": value, "low": low, "high": high}


def agreement(task: TaskName, one: Logits, other: Logits | None) -> float | None:
    """Share of equal predictions of two sets of logits ``(N, L)``: labels, or label by label for multi-label; None for regression.

    >>> agreement("classification", np.float32([[0, 1], [3, 2]]), np.float32([[0, 5], [1, 2]]))
    0.5
    """
    if task == "regression" or other is None:
        return None
    known = TASKS[task]
    return float(np.mean(known.predicted(known.decode(one)) == known.predicted(known.decode(other))))
