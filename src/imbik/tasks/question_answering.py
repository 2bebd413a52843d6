"""Question answering: where in a context a question is answered, or that it is not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from imbik.tasks.classification import softmax
from imbik.tasks.label_cells import LabelledRows
from imbik.tasks.metrics import Metric
from imbik.tasks.outputs import DECISION, PLACES, Array, Output, Outputs, ragged
from imbik.tasks.registry import register
from imbik.tasks.spans.answer_cells import articles, read_answers
from imbik.tasks.spans.answers import SQUAD_EM, SQUAD_EM_TR, SQUAD_F1, SQUAD_F1_TR, answer_row
from imbik.tasks.spans.places import FIRST, LAST, TEXT, WINDOW
from imbik.tasks.task import NOTHING, Answer, Asked, Decoded, Task, TokenPlaces
from imbik.types import TakeNote

QUESTION_ANSWERING = "question-answering"
LONGEST_ANSWER = 60
"""Tokens of an answer, at most."""

_NONE = "(none)"


class _Found(NamedTuple):
    """The best answer of one question: its place, its sum of logits, how sure it is, and how much surer no answer would be."""

    start: int
    end: int
    score: float
    margin: float


@register
class QuestionAnswering(Task):
    """Answers in a context. Targets and predictions: of each question ``(G, 2)`` first character and text; ``(0, 2)``: no answer.

    Texts are questions, second texts their contexts; a long context is read in windows, the question in each. The first token of a
    window, which stands in no text, is what a model marks where the window holds no answer.
    """

    name: ClassVar[str] = QUESTION_ANSWERING
    architecture: ClassVar[str] = "QuestionAnswering"
    plain_models: ClassVar[bool] = True
    outputs: ClassVar[tuple[Output, ...]] = (Output("start_logits", True, False), Output("end_logits", True, False))
    places: ClassVar[bool] = True
    decides: ClassVar[bool] = True
    overlap: ClassVar[float] = 1 / 3
    pairs: ClassVar[bool] = True
    metrics: ClassVar[tuple[Metric, ...]] = (SQUAD_F1, SQUAD_EM, SQUAD_F1_TR, SQUAD_EM_TR)
    label_names: ClassVar[tuple[tuple[str, ...], ...]] = (("answers",), ("answer", "answer_text"))
    few_values: ClassVar[bool] = False
    record_types: ClassVar[Mapping[str, type]] = {"answer": str, "start": int, "end": int, "score": float}

    def read_targets(
        self, splits: Mapping[str, LabelledRows], labels: Sequence[str] | None, say: TakeNote, *, exact: bool = True
    ) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Return the answers of every split; a model's two outputs are its labels."""
        targets = {}
        for name, rows in splits.items():
            assert rows.pairs is not None, "the columns of a task of pairs have a context"
            targets[name] = ragged(answer_row(answers) for answers in read_answers(rows.labels, rows.pairs, say))
        return targets, tuple(labels or ("start", "end"))

    def together(self, rows: LabelledRows) -> NDArray[np.int64]:
        """Return the article of each question, or its context where no article is named."""
        assert rows.pairs is not None
        return articles(rows.labels[0], rows.pairs)

    def strata(self, targets: Array) -> NDArray[np.int64]:
        """Return whether each question is answered."""
        return np.array([len(row) > 0 for row in targets], np.int64)

    def token_targets(self, targets: Array, encoded: TokenPlaces, asked: Asked = NOTHING) -> NDArray[np.int64]:
        """Return the first and the last token of each window's answer, ``(rows, 2)``; 0 and 0 where the window does not hold it whole."""
        owners = range(len(encoded)) if encoded.owners is None else encoded.owners.tolist()
        rows = [row for row, owner in enumerate(owners) if owner < len(targets)]
        found = np.zeros((len(rows), 2), np.int64)
        for row in rows:
            answers = targets[owners[row]]
            if len(answers):
                start = int(answers[0, 0])
                found[row] = _tokens_of(start, start + len(str(answers[0, 1])), encoded.places(row))
        return found

    def decode(self, outputs: Outputs, asked: Asked = NOTHING) -> Decoded:
        """Return of each question its answer: ``text``, ``start`` and ``end`` in the context (-1: there is none), and ``score``.

        The score is the probability of the answer's first and last token in its window, or of the window's first token where there is
        no answer; ``margin``: by how much its logits are above those of no answer.
        """
        assert isinstance(outputs, Mapping) and asked.pairs is not None
        arrays = (outputs["start_logits"], outputs["end_logits"], outputs[PLACES])
        decisions = outputs[DECISION] if DECISION in outputs else np.full(len(arrays[0]), -math.inf)
        found = [_best(*row) for row in zip(*arrays, strict=True)]
        kept = [
            one if one.margin >= decision else _Found(-1, -1, 1 - one.score, one.margin)
            for one, decision in zip(found, decisions, strict=True)
        ]
        return {
            "text": np.array(
                [context[one.start : one.end] if one.start >= 0 else "" for one, context in zip(kept, asked.pairs, strict=True)], object
            ),
            "start": np.array([one.start for one in kept], np.int64),
            "end": np.array([one.end for one in kept], np.int64),
            "score": np.array([one.score for one in kept], np.float32),
            "margin": np.array([one.margin for one in found], np.float32),
        }

    def predicted(self, decoded: Decoded) -> Array:
        """Return the answers in the form of the targets."""
        assert isinstance(decoded, Mapping)
        answers = zip(decoded["text"], decoded["start"].tolist(), strict=True)
        return ragged(answer_row([(start, text)] if start >= 0 else []) for text, start in answers)

    def agreement(self, one: Outputs, other: Outputs) -> float:
        """Compute the share of questions that two models answer with the same span of tokens."""
        assert isinstance(one, Mapping) and isinstance(other, Mapping)
        spans = [
            [_best(*row)[:2] for row in zip(outputs["start_logits"], outputs["end_logits"], one[PLACES], strict=True)]
            for outputs in (one, other)
        ]
        return float(np.mean([left == right for left, right in zip(*spans, strict=True)])) if spans[0] else 1.0

    def settle(self, decoded: Decoded, targets: Array, metric: Metric) -> float | None:
        """Return the margin below which no answer is better than the one found, by the metric; None where every question has one."""
        assert isinstance(decoded, Mapping)
        none = np.array([len(row) == 0 for row in targets])
        if not none.any():
            return None
        single = [
            np.array([metric.score(ragged([said]), ragged([gold]))]) for said, gold in zip(self.predicted(decoded), targets, strict=True)
        ]
        gain = np.where(none, 1.0, 0.0) - np.where(none, 0.0, np.concatenate(single))
        order = np.argsort(decoded["margin"], kind="stable")
        # answers below the threshold are given up, one after the other: the best place to stop
        total = np.concatenate([[0.0], np.cumsum(gain[order])])
        place = int(total.argmax())
        margins = np.concatenate([[-math.inf], decoded["margin"][order].astype(float), [math.inf]])
        low, high = margins[place], margins[place + 1]
        return float(high - 1.0) if math.isinf(low) else float(low + 1.0) if math.isinf(high) else float((low + high) / 2)

    def answers(self, decoded: Decoded, labels: Sequence[str], texts: Sequence[str], pairs: Sequence[str] | None, top: int) -> list[Answer]:
        """Return ``{"answer", "start", "end", "score"}`` of each question; ``start`` and ``end`` are -1 where there is no answer."""
        columns = self.columns(decoded, labels, top)
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def columns(self, decoded: Decoded, labels: Sequence[str], top: int) -> dict[str, Sequence[Any]]:
        """Return ``answer``, ``start``, ``end`` and ``score`` as columns."""
        assert isinstance(decoded, Mapping)
        return {name: decoded["text" if name == "answer" else name].tolist() for name in self.record_types}

    def lines(self, answer: Answer) -> list[tuple[str, float]]:
        """Return the answer and its score as one line."""
        return [(answer["answer"] if answer["start"] >= 0 else _NONE, answer["score"])]


def _tokens_of(start: int, end: int, places: NDArray[np.int32]) -> tuple[int, int]:
    """Return the first and the last token of a span of the context; 0 and 0 where the window does not hold it whole."""
    context = np.flatnonzero((places[:, TEXT] == 1) & (places[:, LAST] > places[:, FIRST]))
    inside = context[(places[context, FIRST] < end) & (places[context, LAST] > start)]
    whole = len(inside) > 0 and places[inside[0], FIRST] <= start and places[inside[-1], LAST] >= end
    return (int(inside[0]), int(inside[-1])) if whole else (0, 0)


def _best(starts: NDArray[np.float32], ends: NDArray[np.float32], places: NDArray[np.int32]) -> _Found:
    """Return the best answer of one question over all windows of its context."""
    best, none = _Found(-1, -1, 0.0, -math.inf), math.inf
    total = -math.inf
    for window in range(int(places[:, WINDOW].max(initial=0)) + 1):
        rows = np.flatnonzero(places[:, WINDOW] == window)
        first, last, where = starts[rows].astype(np.float64), ends[rows].astype(np.float64), places[rows]
        # as SQuAD's baselines: a context has no answer only if no window says otherwise
        none = min(none, float(first[0] + last[0]))
        inside = (where[:, TEXT] == 1) & (where[:, LAST] > where[:, FIRST])
        if not inside.any():
            continue
        begin, end, value = _best_span(np.where(inside, first, -np.inf), np.where(inside, last, -np.inf))
        if value > total:
            allowed = inside.copy()
            allowed[0] = True
            sure = [softmax(np.where(allowed, logits, -1e9)[None])[0] for logits in (first, last)]
            total = value
            best = _Found(int(where[begin, FIRST]), int(where[end, LAST]), float(sure[0][begin] * sure[1][end]), 0.0)
    return best._replace(margin=total - none if math.isfinite(total) else -math.inf)


def _best_span(first: NDArray[np.float64], last: NDArray[np.float64]) -> tuple[int, int, float]:
    """Return the tokens of the largest ``first[i] + last[j]`` with ``i <= j < i + LONGEST_ANSWER``, and the sum."""
    found = (0, 0, -math.inf)
    for length in range(min(LONGEST_ANSWER, len(first))):
        sums = first[: len(first) - length] + last[length:]
        begin = int(sums.argmax())
        if sums[begin] > found[2]:
            found = (begin, begin + length, float(sums[begin]))
    return found
