"""Multi-label classification: each text has any number of labels.

In the data: one column of lists, several columns of labels, or several columns of 0 and 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from imbik.tasks.formulas import calibration_error
from imbik.tasks.label_cells import LabelCells, LabelledRows
from imbik.tasks.labels.cells import are_lists, label_cells
from imbik.tasks.labels.lists import separation
from imbik.tasks.labels.matching import LabelSets, match_labels
from imbik.tasks.labels.numbers import judge
from imbik.tasks.metrics import ACCURACY, MACRO_F1, MICRO_F1, Metric
from imbik.tasks.outputs import Array, Outputs, only
from imbik.tasks.registry import register
from imbik.tasks.sequence import Floats, LabelTask
from imbik.tasks.task import NOTHING, Asked, Decoded
from imbik.types import TakeNote

MULTI_LABEL = "multi-label"
_ON = frozenset({"1", "1.0", "true", "yes"})
_OFF = frozenset({"0", "0.0", "false", "no"})


@register
class MultiLabel(LabelTask):
    """Any number of labels a text. Targets and predictions: 0/1 (N, L) float32; decoded: probabilities (N, L), each for itself."""

    name: ClassVar[str] = MULTI_LABEL
    plain_models: ClassVar[bool] = True
    problem_type: ClassVar[str | None] = "multi_label_classification"
    metrics: ClassVar[tuple[Metric, ...]] = (MICRO_F1, MACRO_F1, ACCURACY)
    example: ClassVar[str] = '[label for label, score in zip(manifest["labels"], row) if score > 0]'

    def recognize(self, columns: Sequence[LabelCells], labels: Sequence[str] | None) -> float:
        """Return 1 for several columns, lists, or names behind a separator that plainly parts labels; 0.5 where it may part names."""
        if len(columns) > 1:
            return 1.0
        column = columns[0]
        if column.numbers is not None or (labels is not None and set(column.values) <= set(labels)):
            return 0.0
        present = [value for value in column.values if value]
        if are_lists(present):
            return 0.95  # they may be the tags of words too
        found = separation(present)
        if found is None or found.recurring < 0.5:
            return 0.0
        # 1,5 and 2,5 share a 5 and are no labels
        return 1.0 if found.sure and judge(column).kind == "names" else 0.5

    def reason(self, columns: Sequence[LabelCells], labels: Sequence[str] | None) -> str:
        """Return what shows that there are several labels."""
        if len(columns) > 1:
            return "several label columns"
        if are_lists([value for value in columns[0].values if value]):
            return "lists of labels"
        found = separation(columns[0].values)
        return (
            ""
            if found is None
            else f"{found.cells} of {len(columns[0].values)} different cells hold several names behind {found.separator!r}"
        )

    def read_targets(
        self, splits: Mapping[str, LabelledRows], labels: Sequence[str] | None, say: TakeNote, *, exact: bool = True
    ) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Return the 0/1 matrix of every split, and the label names."""
        sets = label_sets([rows.labels for rows in splits.values()], labels, say)
        names, known = match_labels(splits, sets, labels, say, exact=exact)
        matrices = {split: label_matrix(rows.labels, cells, names) for (split, rows), cells in zip(splits.items(), known, strict=True)}
        return dict(matrices), names

    def codes(self, targets: Array) -> NDArray[np.int64]:
        """Return a number for each set of labels."""
        return np.asarray(np.unique(targets, axis=0, return_inverse=True)[1].reshape(-1), np.int64)

    def strata(self, targets: Array) -> NDArray[np.int64]:
        """Return the rarest of each row's labels."""
        on = targets.astype(np.float32) != 0
        # (N, L): a label that the row lacks is made rarer than none, so that argmin passes it by;
        # rows without a label are a group of their own, L
        frequency = np.where(on, on.sum(0), len(on) + 1)
        return np.asarray(np.where(on.any(1), frequency.argmin(1), on.shape[1]), np.int64)

    def decode(self, outputs: Outputs, asked: Asked = NOTHING) -> Floats:
        """Return the labels' probabilities, (N, L)."""
        return sigmoid(only(outputs))

    def predicted(self, decoded: Decoded) -> Floats:
        """Return which labels have a probability of at least one half, (N, L) of 0 and 1."""
        return (only(decoded) >= 0.5).astype(np.float32)

    def calibration(self, decoded: Decoded, targets: Array) -> float:
        """Compute the calibration error of every label's probability against 0 and 1."""
        return calibration_error(only(decoded).ravel(), targets.ravel() != 0)


def sigmoid(logits: Array) -> Floats:
    """Return ``1 / (1 + exp(-z))`` element by element, without overflow at either end: (N, L) -> (N, L) float32.

    >>> sigmoid(np.array([[-1000.0, 0.0, 1000.0]])).tolist()
    [[0.0, 0.5, 1.0]]
    """
    # the exponent is never above 0
    small = np.exp(-np.abs(np.asarray(logits, np.float64)))
    return np.where(np.asarray(logits) >= 0, 1.0 / (1.0 + small), small / (1.0 + small)).astype(np.float32)


def label_sets(
    splits: Sequence[Sequence[LabelCells]], labels: Sequence[str] | None = None, say: TakeNote = lambda _: None
) -> list[LabelSets]:
    """Return, per split, per label column, per distinct value, the labels that it switches on.

    One column: lists, vectors of 0 and 1, or names behind a separator (:func:`imbik.tasks.labels.cells.label_cells`); an empty cell
    switches nothing on. Several columns: each value is a label of its own name, ``column=value`` where two columns share the value;
    columns that hold nothing but 0 and 1 are switches named by the column.

    Raises:
        UserError: a broken list, or an empty cell in one of several columns.
    """
    if len(splits[0]) == 1:
        return [[cells] for cells in label_cells([columns[0] for columns in splits], labels, say)]
    for columns in splits:
        for column in columns:
            column.check_present()
    seen = [{value for columns in splits for value in columns[i].values} for i in range(len(splits[0]))]
    if all({value.lower() for value in values} <= _ON | _OFF for values in seen):
        return [[[_switched(column.name, value) for value in column.values] for column in columns] for columns in splits]
    # "yes" in two columns are two labels, which the column's name tells apart
    shared = {value for value, count in Counter(v for values in seen for v in values).items() if count > 1}
    return [[[(f"{column.name}={v}" if v in shared else v,) for v in column.values] for column in columns] for columns in splits]


def _switched(name: str, value: str) -> tuple[str, ...]:
    return (name,) if value.lower() in _ON else ()


def label_matrix(columns: Sequence[LabelCells], sets: LabelSets, labels: Sequence[str]) -> Floats:
    """Return 0/1 targets, (N, L) float32, in the order of ``labels``."""
    place = {name: i for i, name in enumerate(labels)}
    matrix = np.zeros((len(columns[0].codes), len(labels)), np.float32)
    for column, values in zip(columns, sets, strict=True):
        table = np.zeros((len(values), len(labels)), np.float32)
        for code, names in enumerate(values):
            table[code, [place[name] for name in names]] = 1.0
        # several columns may switch the same label on
        np.maximum(matrix, table[column.codes], out=matrix)
    return matrix
