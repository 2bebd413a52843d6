"""Regression: each text has a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from imbik.errors import UserError
from imbik.tasks.label_cells import LabelCells, LabelledRows, numbers_of, one_column
from imbik.tasks.labels.matching import listed
from imbik.tasks.labels.numbers import judge
from imbik.tasks.metrics import MAE, MSE, PEARSON, RMSE, SPEARMAN, Metric
from imbik.tasks.outputs import Array, Outputs, only
from imbik.tasks.registry import register
from imbik.tasks.sequence import Floats, SequenceTask
from imbik.tasks.task import NOTHING, Answer, Asked, Decoded, ModelConfig
from imbik.types import Note, TakeNote

REGRESSION = "regression"
_QUANTILES = 10
_FEWEST = 4  # rows in a group, from which one can leave


@register
class Regression(SequenceTask):
    """A number a text. Targets and predictions: values (N,) float32; decoded: the values as the model gives them, (N, 1)."""

    name: ClassVar[str] = REGRESSION
    plain_models: ClassVar[bool] = True
    problem_type: ClassVar[str | None] = "regression"
    metrics: ClassVar[tuple[Metric, ...]] = (SPEARMAN, PEARSON, RMSE, MSE, MAE)
    record_types: ClassVar[Mapping[str, type]] = {"value": float}
    example: ClassVar[str] = "float(row[0])"

    def recognize(self, columns: Sequence[LabelCells], labels: Sequence[str] | None) -> float:
        """Return 0.9 for a column of values and 0.5 for a coin toss (:func:`imbik.tasks.labels.numbers.judge`); a teacher knows better."""
        if len(columns) != 1:
            return 0.0
        if labels is not None and columns[0].numbers is None:
            return 0.9 if len(labels) == 1 else 0.0
        return {"values": 0.9, "either": 0.5}.get(judge(columns[0]).kind, 0.0)

    def reason(self, columns: Sequence[LabelCells], labels: Sequence[str] | None) -> str:
        """Return what the numbers are like."""
        return judge(columns[0]).reason if labels is None else "the model has one label"

    def read_targets(
        self, splits: Mapping[str, LabelledRows], labels: Sequence[str] | None, say: TakeNote, *, exact: bool = True
    ) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Return the values of every split, and one name: the column's."""
        first = next(iter(splits.values()))
        column = one_column(first, self.name)
        # a model with one label may be a regressor, one with several cannot
        if labels is not None and len(labels) != 1:
            raise UserError(
                "the labels are numbers, the model has classes",
                where=first.where,
                found=f"column {column.name!r}",
                expected=f"labels {listed(labels)}",
                fix="name the label column with --label, or give --task classification",
            )
        names = tuple(labels) if labels else (column.name,)
        return {split: numbers_of(rows.labels[0]) for split, rows in splits.items()}, names

    def strata(self, targets: Array) -> NDArray[np.int64]:
        """Return each row's decile; of few rows, a wider group."""
        # inner edges of ten groups of like size: a split then has small and large values as the
        # whole has
        count = max(1, min(_QUANTILES, len(targets) // _FEWEST))
        edges = np.quantile(targets.astype(np.float64), np.linspace(0, 1, count + 1)[1:-1])
        return np.searchsorted(edges, targets.astype(np.float64), side="right").astype(np.int64)

    def decode(self, outputs: Outputs, asked: Asked = NOTHING) -> Floats:
        """Return the outputs: they are the values, (N, 1) float32."""
        return np.asarray(only(outputs), np.float32)

    def predicted(self, decoded: Decoded) -> Floats:
        """Return the values, (N,)."""
        return np.asarray(only(decoded), np.float32).reshape(-1)

    def weakness(self, decoded: Decoded, targets: Array) -> Note | None:
        """Return a note where the mean of the targets would be a better answer than the model's."""
        values = targets.astype(np.float64)
        error = float(np.sqrt(np.mean((self.predicted(decoded).astype(np.float64) - values) ** 2)))
        return Note.of("worse_than_mean", error=error, spread=float(values.std())) if error > values.std() else None

    def agreement(self, one: Outputs, other: Outputs) -> None:
        """Return None: two numbers are never quite equal."""

    def answers(self, decoded: Decoded, labels: Sequence[str], texts: Sequence[str], pairs: Sequence[str] | None, top: int) -> list[Answer]:
        """Return ``{"value": number}`` of each text."""
        return [{"value": float(row[0])} for row in only(decoded)]

    def columns(self, decoded: Decoded, labels: Sequence[str], top: int) -> dict[str, Sequence[Any]]:
        """Return ``value`` as a column."""
        return {"value": only(decoded)[:, 0].tolist()}

    def lines(self, answer: Answer) -> list[tuple[str, float]]:
        """Return the value as one line."""
        return [("value", answer["value"])]

    def fits(self, config: ModelConfig) -> bool:
        """Return whether a model says so, or says nothing and has one label."""
        return config.problem_type == self.problem_type or (config.problem_type is None and config.num_labels == 1)
