"""Classification: each text, or each image, has one of several labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from imbik.errors import UserError, shorten
from imbik.tasks.formulas import calibration_error
from imbik.tasks.label_cells import LabelCells, LabelledRows, one_column
from imbik.tasks.labels.lists import are_vectors, items_of, switched_on
from imbik.tasks.labels.matching import LabelSets, match_labels
from imbik.tasks.labels.numbers import class_names, judge
from imbik.tasks.metrics import ACCURACY, MACRO_F1, MCC, MICRO_F1, Metric
from imbik.tasks.outputs import IMAGES, Array, Outputs, only
from imbik.tasks.registry import register
from imbik.tasks.sequence import Floats, LabelTask
from imbik.tasks.task import NOTHING, Asked, Decoded, ModelConfig
from imbik.types import Note, TakeNote

CLASSIFICATION = "classification"
IMAGE_CLASSIFICATION = "image-classification"

_ENOUGH = 20  # rows, without which labels that stand once say nothing


@register
class Classification(LabelTask):
    """One label a text. Targets: label indices (N,) int64; decoded: probabilities (N, L); predictions: label indices (N,)."""

    name: ClassVar[str] = CLASSIFICATION
    plain_models: ClassVar[bool] = True
    problem_type: ClassVar[str | None] = "single_label_classification"
    metrics: ClassVar[tuple[Metric, ...]] = (ACCURACY, MACRO_F1, MICRO_F1, MCC)
    # the softmax of the largest logit
    example: ClassVar[str] = 'manifest["labels"][row.argmax()], float(1 / np.exp(row - row.max()).sum())'

    def recognize(self, columns: Sequence[LabelCells], labels: Sequence[str] | None) -> float:
        """Return 0.5 for a label column that speaks for nothing else; 0 where nearly every row has a label of its own."""
        if len(columns) != 1:
            return 0.0
        return 0.5 if labels is not None or not _own_labels(columns[0]) else 0.0

    def reason(self, columns: Sequence[LabelCells], labels: Sequence[str] | None) -> str:
        """Return what the numbers are like, or how many labels there are."""
        return judge(columns[0]).reason or f"{len(columns[0].values)} different labels in {len(columns[0].codes)} rows"

    def read_targets(
        self, splits: Mapping[str, LabelledRows], labels: Sequence[str] | None, say: TakeNote, *, exact: bool = True
    ) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Return label indices of every split, and the label names."""
        columns = [one_column(rows, self.name) for rows in splits.values()]
        sets: list[LabelSets] = [[[(name,) for name in split]] for split in _unpacked(columns, class_names(columns))]
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

    def decode(self, outputs: Outputs, asked: Asked = NOTHING) -> Floats:
        """Return the labels' probabilities, (N, L)."""
        return softmax(only(outputs))

    def predicted(self, decoded: Decoded) -> NDArray[np.int64]:
        """Return the most probable label's index, (N,)."""
        return np.asarray(np.argmax(only(decoded), axis=-1), np.int64)

    def calibration(self, decoded: Decoded, targets: Array) -> float:
        """Compute the calibration error of the most probable label."""
        probabilities = only(decoded)
        return calibration_error(probabilities.max(1), probabilities.argmax(1) == targets)

    def weakness(self, decoded: Decoded, targets: Array) -> Note | None:
        """Return a note where the most frequent label alone would be right as often as the model."""
        share = float(np.bincount(targets).max() / len(targets)) if len(targets) else 0.0
        right = float(np.mean(self.predicted(decoded) == targets)) if len(targets) else 1.0
        return Note.of("no_better_than_one_label", right=right, share=share) if right <= share < 1 else None

    def one_label(self, outputs: Outputs) -> NDArray[np.int64]:
        """Return the index of the largest logit, (N,)."""
        return np.asarray(only(outputs).argmax(axis=1), np.int64)

    def fits(self, config: ModelConfig) -> bool:
        """Return whether a model says so, or says nothing and has several labels."""
        return config.problem_type == self.problem_type or (config.problem_type is None and config.num_labels != 1)


@register
class ImageClassification(Classification):
    """One label an image; everything else as in classification of texts."""

    name: ClassVar[str] = IMAGE_CLASSIFICATION
    architecture: ClassVar[str] = "ImageClassification"
    reads: ClassVar[str] = IMAGES

    def recognize(self, columns: Sequence[LabelCells], labels: Sequence[str] | None) -> float:
        """Return 0: labels do not tell what they are labels of, so it must be named."""
        return 0.0

    def opening(self, folder: str) -> list[str]:
        """Return the lines of Python that open a plain folder of its models without imbik."""
        auto = f"AutoModelFor{self.architecture}"
        opened = [f'{name} = {kind}.from_pretrained("{folder}")' for name, kind in (("model", auto), ("processor", "AutoImageProcessor"))]
        return [f"from transformers import AutoImageProcessor, {auto}", "", *opened]


def _own_labels(column: LabelCells) -> bool:
    """Return whether nearly every row has a label of its own: names of classes repeat."""
    if column.numbers is not None or len(column.codes) < _ENOUGH:
        return False
    return 2 * len(column.values) > len(column.codes) and judge(column).kind == "names"


def _unpacked(columns: Sequence[LabelCells], names: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the class of every distinct value where all are lists of one label, or vectors with one 1; else the names as they are.

    Raises:
        UserError: all are lists, and some hold several labels or none.
    """
    lists = [[items_of(name) for name in split] for split in names]
    found = [items for split in lists for items in split if items is not None]
    if len(found) < sum(map(len, lists)) or not any(items != [name[1:-1]] for items, name in zip(found, _all(names), strict=True)):
        return [list(split) for split in names]
    if are_vectors(found) is not False and all(len(switched_on(items)) == 1 for items in found):
        found = [switched_on(items) for items in found]
    flat = iter(found)
    unpacked = []
    for column, split in zip(columns, names, strict=True):
        for code, name in enumerate(split):
            items = next(flat)
            if len(items) != 1:
                raise UserError(
                    "a list of labels, where each text has one label",
                    where=column.where(code),
                    found=shorten(name),
                    expected="one label",
                    fix="give --task multi-label, or one label a row",
                )
            unpacked.append(items[0])
    flat_names = iter(unpacked)
    return [[next(flat_names) for _ in split] for split in names]


def _all(names: Sequence[Sequence[str]]) -> list[str]:
    return [name for split in names for name in split]


def softmax(logits: Array) -> Floats:
    """Return rows of probabilities, ``exp(z - max z) / sum exp(z - max z)``: (N, L) -> (N, L) float32.

    >>> softmax(np.array([[1000.0, 1000.0]])).tolist()
    [[0.5, 0.5]]
    """
    values = np.asarray(logits)
    # float32 as the models give it: what is lost in it, the result could not hold either
    if values.dtype != np.float32:
        values = values.astype(np.float64)
    if len(values) == 1 and values.ndim == 2 and values.shape[1]:
        return _of_one(values[0])[None]
    # ufuncs in place and not methods, which allocate and look around first
    powers = values - np.maximum.reduce(values, axis=-1, keepdims=True)
    np.exp(powers, out=powers)
    powers /= np.add.reduce(powers, axis=-1, keepdims=True)
    return powers.astype(np.float32, copy=False)


def _of_one(row: Array) -> Floats:
    """Return the probabilities of one text, ``(L,)``: of a request whose model takes five microseconds this would be as much again."""
    # a place and a product are found in a fraction of the time that a maximum and a sum along an axis take
    powers = row - row[row.argmax()]
    np.exp(powers, out=powers)
    powers /= powers.dot(_ones(len(row), row.dtype))
    return np.asarray(powers, np.float32)


@lru_cache(maxsize=64)
def _ones(count: int, kind: np.dtype[Any]) -> Array:
    return np.ones(count, kind)
