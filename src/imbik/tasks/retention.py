"""What a model's outputs are worth: quality with its interval, and what it keeps of a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from imbik.tasks.intervals import bootstrap_interval, paired_gain, paired_retention
from imbik.tasks.outputs import Outputs
from imbik.tasks.registry import task_of
from imbik.tasks.task import Asked
from imbik.types import Examples, TaskName


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


def asked_of(data: Evaluable, examples: Examples) -> Asked:
    """Return what a model is asked by the rows of a split."""
    return Asked(data.labels, examples.texts, examples.pairs)


def quality(data: Evaluable, split: str, examples: Examples | None, outputs: Mapping[str, Outputs]) -> dict[str, Any]:
    """Return ``{metric, value, low, high, n, split}`` with a 95 % bootstrap interval; empty when the split has no targets.

    Args:
        data: names the task and the metric.
        split: which of ``outputs`` is meant.
        examples: its rows.
        outputs: split -> what the model gave of them, logits (N, L) say.
    """
    if examples is None or examples.targets is None or split not in outputs:
        return {}
    task = task_of(data.task)
    decoded = task.decode(outputs[split], asked_of(data, examples))
    low, high = bootstrap_interval(data.metric, decoded, examples.targets, data.task)
    value = task.score(data.metric, decoded, examples.targets)
    return {"metric": data.metric, "value": value, "low": low, "high": high, "n": len(examples.texts), "split": split}


def retention(data: Evaluable, outputs: Outputs, reference: Outputs | None) -> dict[str, Any] | None:
    """Return ``{value, low, high}``: test quality over the baseline's, on the same resampled items; None without a baseline."""
    if reference is None or data.test.targets is None:
        return None
    decode, asked = task_of(data.task).decode, asked_of(data, data.test)
    student, teacher = decode(outputs, asked), decode(reference, asked)
    value, low, high = paired_retention(data.metric, student, teacher, data.test.targets, data.task)
    return None if np.isnan(value) else {"value": value, "low": low, "high": high}


def gain(data: Evaluable, outputs: Outputs, other: Outputs) -> dict[str, Any] | None:
    """Return ``{value, low, high}``: test quality less another model's, on the same resampled items; more is better."""
    if data.test.targets is None:
        return None
    decode = task_of(data.task).decode
    value, low, high = paired_gain(data.metric, decode(outputs), decode(other), data.test.targets, data.task)
    return {"value": value, "low": low, "high": high}


def agreement(task: str, one: Outputs, other: Outputs | None) -> float | None:
    """Compute the share of equal predictions of two models; None without the other, and where equality means nothing (regression).

    >>> agreement("classification", np.float32([[0, 1], [3, 2]]), np.float32([[0, 5], [1, 2]]))
    0.5
    """
    return None if other is None else task_of(task).agreement(one, other)
