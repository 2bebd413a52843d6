"""What tasks share that answer a text (or a pair of texts) with one row of logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from imbik.tasks.formulas import per_label
from imbik.tasks.outputs import Array, Outputs
from imbik.tasks.task import Answer, Task

Floats = NDArray[np.float32]


class SequenceTask(Task):
    """A task whose models give ``logits`` (N, L)."""

    architecture: ClassVar[str] = "SequenceClassification"


def logits_of(outputs: Outputs) -> Array:
    """Return the logits (N, L) that the outputs of a :class:`SequenceTask` are."""
    assert not isinstance(outputs, Mapping)
    return outputs


class LabelTask(SequenceTask):
    """A task whose answers are labels with probabilities (N, L)."""

    def width(self, decoded: Array) -> int:
        """Return L."""
        return int(decoded.shape[1])

    def per_class(self, decoded: Array, targets: Array, labels: Sequence[str]) -> Mapping[str, Mapping[str, float]]:
        """Compute ``precision``, ``recall``, ``f1`` and ``support`` of every label by name."""
        return per_label(self.predicted(decoded), targets, labels)

    def answers(self, decoded: Array, labels: Sequence[str], texts: Sequence[str], pairs: Sequence[str] | None, top: int) -> list[Answer]:
        """Return ``{"labels": [{"label", "probability"}, …]}`` of each text, the most probable first."""
        # stable: labels of one probability keep their order on every machine
        order = (-decoded).argsort(axis=1, kind="stable")[:, :top]
        return [
            {"labels": [{"label": labels[i], "probability": float(row[i])} for i in best]} for row, best in zip(decoded, order, strict=True)
        ]

    def lines(self, answer: Answer) -> list[tuple[str, float]]:
        """Return a label and its probability a line."""
        return [(one["label"], one["probability"]) for one in answer["labels"]]
