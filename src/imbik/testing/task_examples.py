"""One small example of every task: labels, targets that follow from the words of a text, cells as a file would hold them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imbik.images.decode import decode
from imbik.tasks.classification import CLASSIFICATION, IMAGE_CLASSIFICATION
from imbik.tasks.embedding import EMBEDDING
from imbik.tasks.multi_label import MULTI_LABEL
from imbik.tasks.outputs import ragged
from imbik.tasks.question_answering import QUESTION_ANSWERING
from imbik.tasks.regression import REGRESSION
from imbik.tasks.spans.answers import answer_row
from imbik.tasks.token_classification import TOKEN_CLASSIFICATION


@dataclass(frozen=True)
class TaskExample:
    """What tests train and read of a task.

    Attributes:
        labels: label names in order.
        targets: N texts, N second texts or None -> targets of the task, so that something can be learned from the words.
        cell: a text, its second text, its target -> the label cell that a file would hold of it.
        pairs: whether rows have two texts.
        rows: how many, a seed -> rows, where they are no texts.
    """

    labels: tuple[str, ...]
    targets: Callable[[Sequence[Any], Sequence[Any] | None], NDArray[Any]]
    cell: Callable[[Any, Any, Any], Any]
    pairs: bool = False
    rows: Callable[[int, int], Sequence[Any]] | None = None


_CLASSES = ("bad", "good", "other")


def _flags(texts: Sequence[str], _pairs: Sequence[str] | None = None) -> NDArray[np.float32]:
    return np.array([["bad" in t or "late" in t, "good" in t or "new" in t, len(t) % 3 == 0] for t in texts], dtype=np.float32)


def _class_of(texts: Sequence[str], _pairs: Sequence[str] | None = None) -> NDArray[np.int64]:
    return np.array([int(row.argmax()) if row.any() else 2 for row in _flags(texts)], dtype=np.int64)


def _length_of(texts: Sequence[str], _pairs: Sequence[str] | None = None) -> NDArray[np.float32]:
    return np.array([len(t.split()) / 3 for t in texts], dtype=np.float32)


_TYPES = ("place", "thing")
_MARKED = {"bank": 0, "app": 0, "card": 1, "account": 1, "pin": 1, "code": 1}


def _entities_of(texts: Sequence[str], _pairs: Sequence[str] | None = None) -> NDArray[Any]:
    found = []
    for text in texts:
        spans, start = [], 0
        for word in text.split():
            if word in _MARKED:
                spans.append((start, start + len(word), _MARKED[word]))
            start += len(word) + 1
        found.append(np.array(spans, np.int64).reshape(-1, 3))
    return ragged(found)


def _spans_cell(_text: str, _pair: str | None, target: NDArray[np.int64]) -> list[dict[str, Any]]:
    return [{"start": start, "end": end, "label": _TYPES[kind]} for start, end, kind in target.tolist()]


def _last_word(_texts: Sequence[str], pairs: Sequence[str] | None = None) -> NDArray[Any]:
    starts = [pair.rfind(" ") + 1 for pair in pairs or ()]
    return ragged(answer_row([(start, pair[start:])]) for start, pair in zip(starts, pairs or (), strict=True))


def _answer_cell(_text: str, _pair: str | None, target: NDArray[np.str_]) -> dict[str, Any]:
    return {"text": target[:, 1].tolist(), "answer_start": target[:, 0].tolist()}


def _in_common(texts: Sequence[str], pairs: Sequence[str] | None = None) -> NDArray[np.float32]:
    words = [(set(text.split()), set(pair.split())) for text, pair in zip(texts, pairs or texts, strict=True)]
    return np.array([5 * len(one & other) / len(one | other) for one, other in words], np.float32)


def _pictures(count: int, seed: int) -> list[bytes]:
    """PNG files of noisy squares in which one of three colors is strong."""
    from PIL import Image

    random, found = np.random.default_rng(seed), []
    for color in random.integers(0, 3, count):
        levels = random.integers(0, 120, (12, 12, 3))
        levels[:, :, color] += 120
        file = io.BytesIO()
        Image.fromarray(levels.astype(np.uint8)).save(file, format="PNG")
        found.append(file.getvalue())
    return found


def _color_of(images: Sequence[bytes], _pairs: Sequence[Any] | None = None) -> NDArray[np.int64]:
    return np.array([2 - decode(image).pixels.mean((0, 1)).argmax() for image in images], np.int64)


_COLORS = ("blue", "green", "red")

TASK_EXAMPLES: dict[str, TaskExample] = {
    CLASSIFICATION: TaskExample(_CLASSES, _class_of, lambda _text, _pair, target: _CLASSES[int(target)]),
    MULTI_LABEL: TaskExample(
        _CLASSES, _flags, lambda _text, _pair, target: json.dumps([name for name, on in zip(_CLASSES, target, strict=True) if on])
    ),
    TOKEN_CLASSIFICATION: TaskExample(("O", "B-place", "I-place", "B-thing", "I-thing"), _entities_of, _spans_cell),
    QUESTION_ANSWERING: TaskExample(("start", "end"), _last_word, _answer_cell, pairs=True),
    EMBEDDING: TaskExample(tuple("01234567"), _in_common, lambda _text, _pair, target: float(target), pairs=True),
    IMAGE_CLASSIFICATION: TaskExample(_COLORS, _color_of, lambda _image, _pair, target: _COLORS[int(target)], rows=_pictures),
    REGRESSION: TaskExample(("score",), _length_of, lambda _text, _pair, target: float(target)),
}
"""Of every registered task: what :func:`imbik.testing.tiny.tiny_splits` and :func:`imbik.testing.task_contract.check_task` use."""
