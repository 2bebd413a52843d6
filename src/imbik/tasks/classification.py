"""Classification: each text has one of several labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from imbik.tasks.formulas import calibration_error
from imbik.tasks.label_cells import LabelCells, LabelledRows, class_names, one_column
from imbik.tasks.label_names import LabelSets, match_labels
from imbik.tasks.metrics import ACCURACY, MACRO_F1, MCC, MICRO_F1, Metric
from imbik.tasks.outputs import Array, Outputs, only
from imbik.tasks.registry import register
from imbik.tasks.sequence import Floats, LabelTask
from imbik.tasks.task import Decoded, ModelConfig
from imbik.types import TakeNote

CLASSIFICATION = "classification"


@register
class Classification(LabelTask):
    """One label a text. Targets: label indices (N,) int64; decoded: probabilities (N, L); predictions: label indices (N,)."""

    name: ClassVar[str] = CLASSIFICATION
    problem_type: ClassVar[str | None] = "single_label_classification"
    metrics: ClassVar[tuple[Metric, ...]] = (ACCURACY, MACRO_F1, MICRO_F1, MCC)
    example: ClassVar[str] = 'manifest["labels"][row.argmax()], row.max()'

    def recognize(self, columns: Sequence[LabelCells], labels: Sequence[str] | None) -> float:
        """Return 0.5: a label column that speaks for nothing else holds classes."""
        return 0.5 if len(columns) == 1 else 0.0

    def read_targets(
        self, splits: Mapping[str, LabelledRows], labels: Sequence[str] | None, say: TakeNote, *, exact: bool = True
    ) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Return label indices of every split, and the label names."""
        columns = [one_column(rows, self.name) for rows in splits.values()]
        sets: list[LabelSets] = [[[(name,) for name in class_names(column)]] for column in columns]
        names, known = match_labels(splits, sets, labels, say, exact=exact)
        place = {name: index for index, name in enumerate(names)}
        targets = {}
        for split, column, cells in zip(splits, columns, known, strict=True):
            # (distinct values,) read by (N,) codes: a name is looked up once, however many rows
            # have it
            targets[split] = np.array([place[cell[0]] for cell in cells[0]], np.int64)[column.codes]
        return targets, names

    def codes(self, targets: Array) -> NDArray[np.int64]:
        """Return the targets themselves."""
        return targets

    def strata(self, targets: Array) -> NDArray[np.int64]:
        """Return each row's class."""
        return targets.astype(np.int64, copy=False)

    def decode(self, outputs: Outputs) -> Floats:
        """Return the labels' probabilities, (N, L)."""
        return softmax(only(outputs))

    def predicted(self, decoded: Decoded) -> NDArray[np.int64]:
        """Return the most probable label's index, (N,)."""
        return np.asarray(np.argmax(only(decoded), axis=-1), np.int64)

    def calibration(self, decoded: Decoded, targets: Array) -> float:
        """Compute the calibration error of the most probable label."""
        probabilities = only(decoded)
        return calibration_error(probabilities.max(1), probabilities.argmax(1) == targets)

    def one_label(self, outputs: Outputs) -> NDArray[np.int64]:
        """Return the index of the largest logit, (N,)."""
        return np.asarray(only(outputs).argmax(axis=1), np.int64)

    def fits(self, config: ModelConfig) -> bool:
        """Return whether a model says so, or says nothing and has several labels."""
        return config.problem_type == self.problem_type or (config.problem_type is None and config.num_labels != 1)


def softmax(logits: Array) -> Floats:
    """Return rows of probabilities, ``exp(z - max z) / sum exp(z - max z)``: (N, L) -> (N, L) float32.

    >>> softmax(np.array([[1000.0, 1000.0]])).tolist()
    [[0.5, 0.5]]
    """
    shifted = np.asarray(logits, np.float64)
    shifted = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), np.float32)
