"""Label cells of questions: answers with their places in the context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imbik.errors import UserError, shorten
from imbik.tasks.label_cells import LabelCells
from imbik.tasks.spans.cells import json_items, one_of
from imbik.types import Note, TakeNote

_EXPECTED = '{"text": ["Van"], "answer_start": [12]}, [{"text": "Van", "answer_start": 12}], the answer itself, or [] for none'
_TEXT = ("text", "answer", "answers", "value")
_START = ("answer_start", "start", "answer_starts", "begin")
_END = ("answer_end", "end", "stop")
_TITLE = ("title", "article")

Answers = list[tuple[int, str]]


def read_answers(columns: Sequence[LabelCells], contexts: Sequence[str], say: TakeNote) -> list[Answers]:
    """Return the answers of every question as first character and text; an empty list where the context has none.

    Args:
        columns: one of answers, or one of texts and one of their first characters.
        contexts: of the N questions.
        say: takes notes: how many answers stand elsewhere than the data says, or were sought.

    Raises:
        UserError: a cell that is no answer, or an answer that is not in its context.
    """
    columns[0].check_present()
    cells = [json_items(value) for value in columns[0].values]
    starts = [_number(value) for value in columns[1].values] if len(columns) > 1 else []
    found: list[Answers] = []
    moved = sought = 0
    for row, (code, context) in enumerate(zip(columns[0].codes.tolist(), contexts, strict=True)):
        where = columns[0].place(row)
        answers: Answers = []
        given = _pairs(cells[code], columns[0].values[code], where)
        if starts:
            given = [(text, starts[int(columns[1].codes[row])]) for text, _ in given]
        for text, start in given:
            place = _placed(text, start, context, where)
            moved += start is not None and place != start
            sought += start is None
            answers.append((place, text))
        found.append(answers)
    file = columns[0].where(0).split(", ")[0]
    if moved:
        say(Note.of("answers_moved", count=moved, file=file))
    if sought:
        say(Note.of("answers_sought", count=sought, file=file))
    return found


def articles(column: LabelCells, contexts: Sequence[str]) -> NDArray[np.int64]:
    """Return a number for each question, equal for questions of one article, where cells name it, else of one context: ``(N,)``."""
    titles = [_title(json_items(value)) for value in column.values]
    known: dict[tuple[str, str], int] = {}
    numbers = []
    for code, context in zip(column.codes.tolist(), contexts, strict=True):
        title = titles[code]
        numbers.append(known.setdefault(("context", context) if title is None else ("title", title), len(known)))
    return np.array(numbers, np.int64)


def _title(cell: Any) -> str | None:
    title = one_of(cell, _TITLE) if isinstance(cell, dict) else None
    return title if isinstance(title, str) and title else None


def _number(value: object) -> int | None:
    """Return a place, which some files hold as a text; None for what is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    text = str(value).strip()
    return int(text) if text.removesuffix(".0").isdecimal() else None


def _pairs(cell: Any, value: str, where: str) -> list[tuple[str, int | None]]:
    """Return the answers of a cell as text and stated first character; None where no place is stated."""
    if isinstance(cell, str):
        return [(cell, None)]
    items = cell if isinstance(cell, list) else _columns(cell)
    found = [_pair(item) for item in items or ()]
    if items is None or None in found:
        raise UserError("not an answer", where=where, found=shorten(value), expected=_EXPECTED)
    return [pair for pair in found if pair is not None]


def _columns(cell: Any) -> list[Any] | None:
    """Return the answers of an object: one answer, or its texts in one list and their places in another."""
    if not isinstance(cell, dict):
        return None
    texts, starts = one_of(cell, _TEXT), one_of(cell, _START)
    if not isinstance(texts, list):
        return [cell]
    if starts is None:
        return texts
    if not isinstance(starts, list) or len(starts) != len(texts):
        return None
    return [{"text": text, "start": start} for text, start in zip(texts, starts, strict=True)]


def _pair(item: Any) -> tuple[str, int | None] | None:
    if isinstance(item, str):
        return (item, None) if item else None
    text = one_of(item, _TEXT) if isinstance(item, dict) else None
    if not isinstance(text, str) or not text:
        return None
    stated = one_of(item, _START)
    start = None if stated is None else _number(stated)
    return None if stated is not None and start is None else (text, start)


def _placed(text: str, start: int | None, context: str, where: str) -> int:
    """Return where an answer stands: where it is stated to, else at the nearest place (the first where none is stated).

    Raises:
        UserError: nowhere in the context.
    """
    if start is not None and context.startswith(text, start):
        return start
    places = []
    place = context.find(text)
    while place >= 0:
        places.append(place)
        place = context.find(text, place + 1)
    if not places:
        stands = "" if start is None else f"; at {start} stands {shorten(context[start : start + len(text)])}"
        raise UserError(
            "an answer that is not in its context",
            where=where,
            found=shorten(text) + stands,
            expected="a part of the context, to the letter",
            fix="copy the answer out of the context, or give [] for a question that it does not answer",
        )
    return min(places, key=lambda one: abs(one - (start or 0)))
