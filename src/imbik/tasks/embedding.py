"""Embeddings: each text has a vector, and texts of like meaning have vectors of a small angle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from imbik.errors import UserError
from imbik.tasks.label_cells import LabelCells, LabelledRows, numbers_of, one_column
from imbik.tasks.metrics import PEARSON, SPEARMAN, Metric
from imbik.tasks.outputs import Array, Outputs, only
from imbik.tasks.ranking.metrics import RANKING
from imbik.tasks.ranking.relevance import ranks
from imbik.tasks.registry import register
from imbik.tasks.regression import Regression
from imbik.tasks.sequence import Floats
from imbik.tasks.task import NOTHING, Answer, Asked, Decoded, Task
from imbik.types import TakeNote

EMBEDDING = "embedding"

_SHOWN = 4
"""Numbers of a vector that a table shows."""

_DIGITS = 8
"""Decimals of a vector's numbers in JSON: all that float32 holds of a number below one."""


def cosines(pairs: Array) -> NDArray[np.float64]:
    """Compute the cosine of the two vectors of each row, ``(N, 2, D)`` -> ``(N,)``; 0 where one of them is zero.

    >>> cosines(np.array([[[1.0, 0.0], [1.0, 1.0]], [[0.0, 2.0], [0.0, 0.0]]])).round(4).tolist()
    [0.7071, 0.0]
    """
    first, second = np.moveaxis(np.asarray(pairs, np.float64), 1, 0)
    # in float64: two pairs whose cosines differ in the eighth digit keep their order
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return np.asarray((first * second).sum(-1) / np.where(lengths == 0, 1.0, lengths))


@register
class Embedding(Task):
    """A vector a text. Outputs: vectors ``(N, D)``; of pairs of texts both, ``(N, 2, D)``, whose cosine is the prediction ``(N,)``.

    Targets are how alike the two texts of each row are, or which of the rows answer which others
    (:mod:`imbik.tasks.ranking.relevance`): vectors of queries are then compared with those of documents.
    """

    name: ClassVar[str] = EMBEDDING
    architecture: ClassVar[str] = "SentenceEmbedding"
    plain_models: ClassVar[bool] = True
    apart: ClassVar[bool] = True
    metrics: ClassVar[tuple[Metric, ...]] = (SPEARMAN, PEARSON)
    ranking_metrics: ClassVar[tuple[Metric, ...]] = RANKING
    record_types: ClassVar[Mapping[str, type]] = {"vector": list, "similarity": float}
    library: ClassVar[str] = "sentence-transformers"
    example: ClassVar[str] = "row"

    def read_targets(
        self, splits: Mapping[str, LabelledRows], labels: Sequence[str] | None, say: TakeNote, *, exact: bool = True
    ) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Return how alike the two texts of each row are, (N,) float32, and the numbers of a vector's dimensions as their names."""
        # as many names as a vector has numbers: whatever checks outputs by their labels then checks vectors too
        columns = {split: one_column(rows, self.name) for split, rows in splits.items()}
        names = tuple(labels) if labels else (next(iter(columns.values())).name,)
        return {split: numbers_of(column) for split, column in columns.items()}, names

    def recognize(self, columns: Sequence[LabelCells], labels: Sequence[str] | None) -> float:
        """Return 0: pairs with a score are a regression as well, so the task must be named, or be that of the teacher."""
        return 0.0

    def metric_of(self, targets: Array, name: str | None = None) -> Metric:
        """Return a metric that fits the targets: correlations of pairs with scores, rankings of queries and documents.

        Raises:
            UserError: the other kind is named, or there is no such metric.
        """
        fitting = self.ranking_metrics if ranks(targets) else self.metrics
        chosen = fitting[0] if name is None else self.metric(name)
        if chosen not in fitting:
            raise UserError(
                "this metric is not for this data",
                where="--metric",
                found=f"{chosen.name}, and {'queries with documents' if ranks(targets) else 'pairs with scores'}",
                expected=" or ".join(metric.name for metric in fitting),
            )
        return chosen

    def strata(self, targets: Array) -> NDArray[np.int64]:
        """Return each row's decile."""
        return Regression().strata(targets)

    def decode(self, outputs: Outputs, asked: Asked = NOTHING) -> Floats:
        """Return the outputs: they are the vectors."""
        return np.asarray(only(outputs), np.float32)

    def predicted(self, decoded: Decoded) -> Array:
        """Return the cosines of pairs, (N,); of single texts their vectors, (N, D)."""
        vectors = only(decoded)
        return cosines(vectors) if vectors.ndim == 3 else vectors

    def drawn(self, decoded: Decoded, seed: int) -> Array:
        """Return the vectors with noise of a hundredth of their length: of a model's own vectors the loss has no slope."""
        vectors = only(decoded)
        size = np.sqrt(np.mean(vectors.astype(np.float64) ** 2))
        noise = np.random.default_rng(seed).standard_normal(vectors.shape) * 0.1 * size
        return np.asarray(vectors + noise, np.float32)

    def agreement(self, one: Outputs, other: Outputs) -> None:
        """Return None: two vectors are never quite equal."""

    def answers(self, decoded: Decoded, labels: Sequence[str], texts: Sequence[str], pairs: Sequence[str] | None, top: int) -> list[Answer]:
        """Return ``{"vector": [number, …]}`` of each text, ``{"similarity": cosine}`` of each pair."""
        columns = self.columns(decoded, labels, top)
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def columns(self, decoded: Decoded, labels: Sequence[str], top: int) -> dict[str, Sequence[Any]]:
        """Return ``vector`` as a column of lists; of pairs ``similarity``."""
        found = np.asarray(self.predicted(decoded), np.float64).round(_DIGITS).tolist()
        return {"vector" if only(decoded).ndim == 2 else "similarity": found}

    def lines(self, answer: Answer) -> list[tuple[str, float]]:
        """Return the cosine of a pair; of a text how many numbers its vector has, and the first of them."""
        if "similarity" in answer:
            return [("similarity", answer["similarity"])]
        vector = answer["vector"]
        return [("dimensions", len(vector)), *((f"vector[{place}]", value) for place, value in enumerate(vector[:_SHOWN]))]

    def opening(self, folder: str) -> list[str]:
        """Return how sentence-transformers opens a folder and gives the same vectors."""
        opened = [f'model = SentenceTransformer("{folder}")', 'vectors = model.encode(["a text", "another text"])']
        return ["from sentence_transformers import SentenceTransformer", "", *opened]

    def records(self, answer: Answer) -> list[dict[str, Any]]:
        """Return the answer as one row; a vector is one cell."""
        return [dict(answer)]
