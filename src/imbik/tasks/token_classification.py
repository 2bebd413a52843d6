"""Token classification: entities, slots, chunks: spans of each text that have a type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from imbik.tasks.classification import softmax
from imbik.tasks.label_cells import LabelCells, LabelledRows, one_column
from imbik.tasks.labels.matching import match_labels
from imbik.tasks.metrics import Metric
from imbik.tasks.outputs import PLACES, Array, Output, Outputs, ragged
from imbik.tasks.registry import register
from imbik.tasks.spans.cells import Row, is_tagged, read_cells
from imbik.tasks.spans.entity_metrics import ENTITY_F1, ENTITY_MACRO_F1, ENTITY_PRECISION, ENTITY_RECALL, per_type
from imbik.tasks.spans.places import FIRST, HEAD, LAST, TEXT, WINDOW, end_of_word
from imbik.tasks.spans.tags import OUTSIDE, Labelling, bio, types_of
from imbik.tasks.task import NOTHING, Answer, Asked, Decoded, Task, TokenPlaces
from imbik.types import TakeNote

TOKEN_CLASSIFICATION = "token-classification"
_IGNORED = -100
_NONE = "(none)"


@register
class TokenClassification(Task):
    """Entities of each text. Targets and predictions: ``(K, 3)`` a text: first character, last + 1, type.

    A model labels the first token of every word; the tokens behind it in the word follow. A word that two windows of a long text
    share is read where more of its neighborhood is seen.
    """

    name: ClassVar[str] = TOKEN_CLASSIFICATION
    architecture: ClassVar[str] = "TokenClassification"
    plain_models: ClassVar[bool] = True
    outputs: ClassVar[tuple[Output, ...]] = (Output(per_token=True),)
    places: ClassVar[bool] = True
    overlap: ClassVar[float] = 0.25
    metrics: ClassVar[tuple[Metric, ...]] = (ENTITY_F1, ENTITY_PRECISION, ENTITY_RECALL, ENTITY_MACRO_F1)
    label_names: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("entities", "spans", "ner_tags", "slots", "tags"),
        ("labels", "label", "ner", "chunk_tags", "pos_tags"),
    )
    few_values: ClassVar[bool] = False
    record_types: ClassVar[Mapping[str, type]] = {"label": str, "start": int, "end": int, "entity": str, "probability": float}
    example: ClassVar[str] = '[manifest["labels"][label] for label in row.argmax(1)]'

    def recognize(self, columns: Sequence[LabelCells], labels: Sequence[str] | None) -> float:
        """Return 1 for a column of lists of spans or tags."""
        return 1.0 if len(columns) == 1 and is_tagged(columns[0]) else 0.0

    def reason(self, columns: Sequence[LabelCells], labels: Sequence[str] | None) -> str:
        """Return what shows that words are tagged."""
        return "lists of spans or of tags"

    def read_targets(
        self, splits: Mapping[str, LabelledRows], labels: Sequence[str] | None, say: TakeNote, *, exact: bool = True
    ) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Return the entities of every split, and the labels of words: ``O``, ``B-…``, ``I-…`` of each type, or a teacher's own."""
        found = {name: read_cells(one_column(rows, self.name), rows.texts, say) for name, rows in splits.items()}
        # O is a name like the others: data with one type have two classes
        given = None if labels is None else (OUTSIDE, *types_of(labels))
        shown = {name: _TypesOfRows(rows, found[name]) for name, rows in splits.items()}
        names, known = match_labels(shown, [[one.sets] for one in shown.values()], given, say, exact=exact)
        types = [name for name in names if name != OUTSIDE]
        number = {kind: index for index, kind in enumerate(types)}
        targets = {
            name: ragged(_numbered(row, kinds[1:], number) for row, kinds in zip(found[name], sets[0], strict=True))
            for name, sets in zip(splits, known, strict=True)
        }
        return targets, bio(types) if labels is None else tuple(labels)

    def strata(self, targets: Array) -> NDArray[np.int64]:
        """Return the rarest of each text's types, -1 for a text without entities."""
        kinds = [np.unique(row[:, 2]) for row in targets]
        frequency = np.bincount(np.concatenate([*kinds, np.zeros(0, np.int64)]).astype(np.int64))
        return np.array([row[frequency[row].argmin()] if len(row) else -1 for row in kinds], np.int64)

    def token_targets(self, targets: Array, encoded: TokenPlaces, asked: Asked = NOTHING) -> Array:
        """Return the label of the first token of every word, -100 for all other tokens; a row for each window."""
        labelling = Labelling(asked.labels)
        owners = range(len(encoded)) if encoded.owners is None else encoded.owners.tolist()
        # texts without targets stand behind those with
        labelled = ((row, owner) for row, owner in enumerate(owners) if owner < len(targets))
        return ragged(_labels_of(targets[owner], encoded.places(row), labelling) for row, owner in labelled)

    def decode(self, outputs: Outputs, asked: Asked = NOTHING) -> Decoded:
        """Return ``entities`` ``(K, 3)`` and ``probability`` ``(K,)`` of each text: the mean over its words."""
        assert isinstance(outputs, Mapping)
        labelling = Labelling(asked.labels)
        rows = zip(outputs["logits"], outputs[PLACES], asked.texts, strict=True)
        found = [_entities(logits, places, text, labelling) for logits, places, text in rows]
        return {"entities": ragged(spans for spans, _ in found), "probability": ragged(sure for _, sure in found)}

    def predicted(self, decoded: Decoded) -> Array:
        """Return the entities."""
        assert isinstance(decoded, Mapping)
        return decoded["entities"]

    def agreement(self, one: Outputs, other: Outputs) -> float:
        """Compute the share of words that two models label alike."""
        assert isinstance(one, Mapping) and isinstance(other, Mapping)
        same = [
            (left.argmax(-1) == right.argmax(-1))[places[:, HEAD] == 1]
            for left, right, places in zip(one["logits"], other["logits"], one[PLACES], strict=True)
        ]
        words = np.concatenate([np.zeros(0, bool), *same])
        return float(words.mean()) if len(words) else 1.0

    def per_class(self, decoded: Decoded, targets: Array, labels: Sequence[str]) -> Mapping[str, Mapping[str, float]]:
        """Compute ``precision``, ``recall``, ``f1`` and ``support`` of every type by name."""
        return per_type(self.predicted(decoded), targets, types_of(labels))

    def answers(self, decoded: Decoded, labels: Sequence[str], texts: Sequence[str], pairs: Sequence[str] | None, top: int) -> list[Answer]:
        """Return ``{"entities": [{"label", "start", "end", "entity", "probability"}, …]}`` of each text, in the order of the text."""
        assert isinstance(decoded, Mapping)
        types = types_of(labels)
        return [
            {
                "entities": [
                    {"label": types[kind], "start": start, "end": end, "entity": text[start:end], "probability": float(sure)}
                    for (start, end, kind), sure in zip(spans.tolist(), probabilities, strict=True)
                ]
            }
            for text, spans, probabilities in zip(texts, decoded["entities"], decoded["probability"], strict=True)
        ]

    def lines(self, answer: Answer) -> list[tuple[str, float]]:
        """Return an entity and its probability a line."""
        entities = answer["entities"]
        return [(f"{one['label']}: {one['entity']}", one["probability"]) for one in entities] or [(_NONE, 1.0)]

    def records(self, answer: Answer) -> list[dict[str, Any]]:
        """Return a row for each entity, with the text in each; one with empty cells for a text that has none."""
        rest = {name: value for name, value in answer.items() if name != "entities"}
        blank = dict.fromkeys(self.record_types, "")
        return [rest | entity for entity in answer["entities"]] or [rest | blank]


def _numbered(row: Row, kinds: Sequence[str], number: Mapping[str, int]) -> NDArray[np.int64]:
    """Return the entities of a text as ``(K, 3)``, their types by number."""
    spans = [(entity.start, entity.end, number[kind]) for entity, kind in zip(row, kinds, strict=True)]
    return np.array(spans, np.int64).reshape(-1, 3)


class _TypesOfRows:
    """A split as :func:`match_labels` sees it: its one column, whose distinct cells are the rows' types."""

    def __init__(self, rows: LabelledRows, entities: Sequence[Row]) -> None:
        self.where, self.texts, self.pairs = rows.where, rows.texts, rows.pairs
        self.labels = (_Column(rows.labels[0], len(entities)),)
        self.sets: list[tuple[str, ...]] = [(OUTSIDE, *(entity.type for entity in row)) for row in entities]


class _Column:
    """A label column whose cells are counted row by row."""

    def __init__(self, column: LabelCells, rows: int) -> None:
        self.column, self.name = column, column.name
        self.codes: NDArray[np.int32] = np.arange(rows, dtype=np.int32)
        self.values: Sequence[str] = ()
        self.numbers: NDArray[np.float64] | None = None

    def where(self, code: int) -> str:
        """Return where a row stands."""
        return self.column.place(code)

    def place(self, row: int) -> str:
        """Return where a row stands."""
        return self.column.place(row)

    def is_missing(self, value: str) -> bool:
        """Return False: the column itself was checked."""
        return False

    def check_present(self) -> None:
        """Do nothing: the column itself was checked."""


def _words(places: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the tokens that begin the words of the text, each word once, in the order of the text: ``(W,)`` positions.

    Of a word that stands in several windows, the one that is farthest from the edges of its window.
    """
    heads = np.flatnonzero((places[:, TEXT] == 0) & (places[:, HEAD] == 1))
    windows = places[heads, WINDOW]
    if len(heads) and windows.max() > 0:
        last = windows.max()
        starts, ends = (np.searchsorted(places[:, WINDOW], np.arange(last + 1), side=side) for side in ("left", "right"))
        # the ends of the text itself are no edges
        left = np.where(windows == 0, len(places), heads - starts[windows])
        right = np.where(windows == last, len(places), ends[windows] - 1 - heads)
        order = np.lexsort((-np.minimum(left, right), places[heads, FIRST]))
        heads = heads[order]
        heads = heads[np.unique(places[heads, FIRST], return_index=True)[1]]
    return heads.astype(np.int64)


def _ends(places: NDArray[np.int32], words: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the last character + 1 of the words that begin at some tokens, ``(W,)``."""
    # a word goes on to the next token that begins one, or is special, or stands in another window
    stops = (places[:, HEAD] == 1) | (places[:, TEXT] != 0)
    stops[1:] |= places[1:, WINDOW] != places[:-1, WINDOW]
    bounds = np.append(np.flatnonzero(stops), len(places))
    after = bounds[np.searchsorted(bounds, words, side="right")]
    return np.array([places[word:stop, LAST].max() for word, stop in zip(words, after, strict=True)], np.int64)


def _entities(
    logits: NDArray[np.float32], places: NDArray[np.int32], text: str, labelling: Labelling
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the entities of one text, and how sure the model is of each."""
    words = _words(places)
    probabilities = softmax(logits[words]) if len(words) else np.zeros((0, 1), np.float32)
    spans = labelling.entities(probabilities.argmax(1)) if len(words) else np.zeros((0, 3), np.int64)
    # a window may end inside of a word
    ends = [end_of_word(text, end) for end in _ends(places, words[spans[:, 1] - 1]).tolist()]
    sure = np.array([probabilities[first:last].max(1).mean() for first, last, _ in spans], np.float32)
    found = [(places[words[first], FIRST], end, kind) for (first, _, kind), end in zip(spans, ends, strict=True)]
    return np.array(found, np.int64).reshape(-1, 3), sure


def _labels_of(entities: NDArray[np.int64], places: NDArray[np.int32], labelling: Labelling) -> NDArray[np.int64]:
    """Return what each token of one window is to be labelled with, ``(T,)``; -100: nothing."""
    labels = np.full(len(places), _IGNORED, np.int64)
    heads = np.flatnonzero((places[:, TEXT] == 0) & (places[:, HEAD] == 1)).astype(np.int64)
    starts, ends = places[heads, FIRST], _ends(places, heads)
    labels[heads] = labelling.outside
    for start, end, kind in entities.tolist():
        words = np.flatnonzero((starts < end) & (ends > start))
        if len(words):
            # a window may begin or end inside of an entity
            labels[heads[words]] = labelling.labels(len(words), kind, goes_on=starts[words[0]] > start, goes_further=ends[words[-1]] < end)
    return labels
