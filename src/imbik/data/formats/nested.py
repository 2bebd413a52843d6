"""JSON files that are one object with the rows somewhere inside: SQuAD's articles, Rasa's examples, the columns of pandas."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imbik.data.formats.table import CHUNK, Chunk, Table
from imbik.data.formats.text import decoding_error, open_text
from imbik.errors import UserError, shorten

_HEAD = 1 << 16
# of pandas, each column is an object; others put a list of objects under a name
_ROWS_INSIDE = re.compile(
    r'\{(\s*"(?:[^"\\]|\\.)*"\s*:\s*(?:"(?:[^"\\]|\\.)*"|[-\d.eE+]+|true|false|null)\s*,)*\s*"(?:[^"\\]|\\.)*"\s*:\s*(\{|\[\s*\{)'
)
_NAMES = {"data", "rows", "records", "items", "examples", "results"}
_SQUAD, _RASA = '"paragraphs"', '"common_examples"'


def is_nested(path: Path, encoding: str) -> bool:
    """Return whether a JSON file is one of these."""
    with open_text(path, encoding) as file:
        try:
            head = file.read(_HEAD).lstrip("\ufeff \t\r\n")
        except UnicodeError:
            return False
    if head.startswith("{") and (_SQUAD in head or _RASA in head):
        return True
    # a line of JSON lines may begin like that too
    return bool(_ROWS_INSIDE.match(head)) and bool(_rows_inside(_document(path, encoding)))


def _document(path: Path, encoding: str) -> object:
    """Return what a file holds that is one JSON document; None for another one."""
    try:
        with open_text(path, encoding) as file:
            return json.load(file)
    except (ValueError, RecursionError):  # UnicodeError is a ValueError
        return None


def _rows_inside(document: object) -> list[dict[str, Any]]:
    """Return the rows of an object whose values are columns, each an object from the number of a row to its cell, or of which one value
    is a list of objects; empty for another one."""
    if not isinstance(document, dict) or not document:
        return []
    columns = list(document.values())
    if all(isinstance(column, dict) and len(column) > 1 and column.keys() == columns[0].keys() for column in columns):
        return [{name: column[row] for name, column in document.items()} for row in columns[0]]
    # by name: a single row may hold a list of objects, such as spans
    lists = [value for name, value in document.items() if name.casefold() in _NAMES and isinstance(value, list) and value]
    return lists[0] if len(lists) == 1 and all(isinstance(item, dict) for item in lists[0]) else []


def read_document(path: Path, encoding: str, expected: str) -> Any:
    """Return what a file of JSON holds, read whole.

    Args:
        path: the file.
        encoding: of the file.
        expected: what should stand in it, for the message.

    Raises:
        UserError: broken JSON, with its row, or another encoding.
    """
    try:
        with open_text(path, encoding) as file:
            return json.load(file)
    except UnicodeDecodeError as error:
        raise decoding_error(path, encoding) from error
    except (ValueError, RecursionError) as error:
        row = getattr(error, "lineno", 1)
        raise UserError("broken JSON", where=f"{path}, row {row}", found=str(error), expected=expected) from error


def open_nested(path: Path, encoding: str) -> Table:
    """Open a file of SQuAD's form (1.1 or 2.0), a question a row, of Rasa's, or one whose rows stand in one of its values.

    Raises:
        UserError: broken JSON, or an article, a paragraph or a question without what belongs there.
    """
    document = read_document(path, encoding, "one JSON object")
    if "rasa_nlu_data" in document:
        items = _field(path, document["rasa_nlu_data"], "common_examples", list)
        for number, item in enumerate(items, 1):
            if not isinstance(item, dict):
                raise UserError(
                    "not a JSON object", where=f"{path}, item {number}", found=shorten(item), expected='{"text": …, "intent": …}'
                )
        return _table(path, items, "item")
    rows = _rows_inside(document)
    if rows and not any("paragraphs" in row for row in rows):
        return _table(path, rows, "item")
    return _table(path, list(_questions(path, document)), "question")


def _table(path: Path, rows: list[dict[str, Any]], unit: str) -> Table:
    if not rows:
        raise UserError("no rows", where=path, expected=f"at least one {unit}")
    names = tuple(rows[0])

    def stream(wanted: Sequence[str]) -> Iterator[Chunk]:
        for low in range(0, len(rows), CHUNK):
            part = rows[low : low + CHUNK]
            columns = {name: [{name: None, **row}[name] for row in part] for name in wanted}
            yield Chunk(columns, np.arange(low + 1, low + 1 + len(part)))

    return Table(str(path), names, stream, unit=unit)


def _field(where: object, item: object, name: str, kind: type) -> Any:
    """Return a field of an object that must be there."""
    if not isinstance(item, dict) or name not in item or not isinstance(item[name], kind):
        raise UserError(
            f"no {name!r} here",
            where=where,
            found=shorten(", ".join(item) if isinstance(item, dict) else item),
            expected='{"data": [{"title": "…", "paragraphs": [{"context": "…", "qas": [{"question": "…", "answers": [...]}]}]}]}',
            fix="give a file of SQuAD's form, or JSON lines with question, context and answers",
        )
    return item[name]


def _questions(path: Path, document: object) -> Iterator[dict[str, Any]]:
    for number, article in enumerate(_field(path, document, "data", list), 1):
        place = f"{path}, article {number}"
        title = article["title"] if isinstance(article, dict) and "title" in article else f"article {number}"
        for count, paragraph in enumerate(_field(place, article, "paragraphs", list), 1):
            inner = f"{place}, paragraph {count}"
            context = _field(inner, paragraph, "context", str)
            for question in _field(inner, paragraph, "qas", list):
                none = isinstance(question, dict) and "is_impossible" in question and question["is_impossible"]
                answers = [] if none else _field(inner, question, "answers", list)
                yield {
                    "question": _field(inner, question, "question", str),
                    "context": context,
                    "answers": _cell(inner, answers, str(title)),
                    "id": str(question["id"]) if "id" in question else "",
                }


def _cell(where: str, answers: list[object], title: str) -> dict[str, Any]:
    """Return a question's answers as one cell: texts, first characters, and the article that they come from."""
    texts = [_field(where, answer, "text", str) for answer in answers]
    starts = [_field(where, answer, "answer_start", object) for answer in answers]
    return {"text": texts, "answer_start": starts, "title": title}
