"""JSON lines and JSON arrays as tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from imbik.data.formats.nested import is_nested, open_nested, read_document
from imbik.data.formats.table import CHUNK, Chunk, Table, check_columns
from imbik.data.formats.text import bare_suffix, decoding_error, open_text
from imbik.errors import UserError, shorten


def open_json(path: Path, encoding: str) -> Table:
    """Open JSON lines, or (in a ``.json`` file) one array of objects.

    Raises:
        UserError: not JSON, or not objects.
    """
    if bare_suffix(path) == ".json" and is_nested(path, encoding):
        return open_nested(path, encoding)
    if bare_suffix(path) == ".json" and _first_character(path, encoding) == "[":
        return _open_array(path, encoding)
    first = next(_json_chunks(path, encoding, 1), None)
    if first is None:
        raise UserError("the file is empty", where=path, expected="one JSON object per line")
    names = check_columns(str(path), list(first[1][0]))

    def stream(wanted: Sequence[str]) -> Iterator[Chunk]:
        for lines, items in _json_chunks(path, encoding, CHUNK):
            yield Chunk({name: [item.get(name) for item in items] for name in wanted}, np.asarray(lines))

    return Table(str(path), names, stream)


def _first_character(path: Path, encoding: str) -> str:
    with open_text(path, encoding) as file:
        try:
            return file.read(4096).lstrip("\ufeff \t\r\n")[:1]
        except UnicodeError as error:
            raise decoding_error(path, encoding) from error


def _json_chunks(path: Path, encoding: str, size: int) -> Iterator[tuple[list[int], list[dict[str, Any]]]]:
    """Yield line numbers and objects of the lines that are not blank, ``size`` lines at a time."""
    with open_text(path, encoding) as file:
        start = 0
        while True:
            try:
                block = list(islice(file, size))
            except UnicodeError as error:
                raise decoding_error(path, encoding) from error
            if not block:
                return
            numbered = [(start + i, line) for i, line in enumerate(block, 1) if not line.isspace()]
            start += len(block)
            if numbered:
                lines = [number for number, _ in numbered]
                yield lines, _objects(path, lines, [line for _, line in numbered])


def _objects(path: Path, lines: list[int], block: list[str]) -> list[dict[str, Any]]:
    """Return the objects of a block of lines: parsed in one go, line by line only to find the bad one."""
    try:
        # one call for a block is several times as fast as one a line
        items = json.loads("[" + ",".join(block) + "]")
        # a line such as `{…}, {…}` would pass as two objects
        if len(items) == len(block) and set(map(type, items)) == {dict}:
            return items  # type: ignore[no-any-return]
    except (ValueError, RecursionError):
        pass
    return [_object(path, line, text) for line, text in zip(lines, block, strict=True)]


def _object(path: Path, line: int, text: str) -> dict[str, Any]:
    where = f"{path}, row {line}"
    try:
        item = json.loads(text.lstrip("\ufeff"))
    except (ValueError, RecursionError) as error:
        column = getattr(error, "colno", 1)
        raise UserError(
            "broken JSON",
            where=f"{where}, character {column}",
            found=shorten(text),
            expected="one JSON object on one line",
            fix="fix or remove the line",
        ) from error
    if not isinstance(item, dict):
        raise UserError("not a JSON object", where=where, found=shorten(text), expected='{"column": value, ...}')
    return item


def _open_array(path: Path, encoding: str) -> Table:
    """Open a ``.json`` file that holds an array; it is read whole, rows are counted from 1."""
    items = read_document(path, encoding, "an array of objects")
    if not items:
        raise UserError("no rows", where=path, found="an empty array", expected="an array of objects")
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict):
            raise UserError("not a JSON object", where=f"{path}, item {number}", found=shorten(item), expected='{"column": value}')
    names = check_columns(str(path), list(items[0]))

    def stream(wanted: Sequence[str]) -> Iterator[Chunk]:
        for low in range(0, len(items), CHUNK):
            part = items[low : low + CHUNK]
            rows = np.arange(low + 1, low + 1 + len(part))
            yield Chunk({name: [item.get(name) for item in part] for name in wanted}, rows)

    return Table(str(path), names, stream, unit="item")
