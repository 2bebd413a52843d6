"""File formats: a CSV, TSV, JSON lines, JSON or Parquet file becomes a :class:`~imbik.data.formats.table.Table`."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np
from numpy.typing import NDArray

from imbik.data.formats.dialect import dialect_of
from imbik.data.formats.json import open_json
from imbik.data.formats.parquet import open_parquet
from imbik.data.formats.table import CHUNK, Chunk, Table, check_columns
from imbik.data.formats.tagged import COLUMN_FORMATS, looks_like_columns, open_columns
from imbik.data.formats.text import bare_suffix, decoding_error, encoding_of, open_text
from imbik.errors import UserError, shorten
from imbik.types import Say

FORMATS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
_SHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
_LONGEST = 10_000_000  # characters of one CSV field; a quote that is never closed stops here
_RULE = re.compile(r"\s*:?-*:?\s*")
_CHARACTERS = 1 << 20  # of plain text that is read at once


def open_table(path: Path, encoding: str | None = None, say: Say = lambda _: None) -> Table:
    """Open the table in a file, by its suffix (``FORMATS``).

    Raises:
        UserError: no file, no known format, nothing in it, or not what its suffix says.
    """
    check_file(path)
    suffix = bare_suffix(path)
    if suffix in (".csv", ".tsv"):
        return _open_csv(path, encoding_of(path, encoding), say)
    if suffix in (".jsonl", ".ndjson", ".json"):
        return open_json(path, encoding_of(path, encoding))
    if suffix == ".parquet":
        return open_parquet(path)
    if suffix in COLUMN_FORMATS or (suffix == ".txt" and looks_like_columns(path, encoding)):
        return open_columns(path, encoding)
    raise UserError(
        "unknown file format",
        where=path,
        found=suffix or "no suffix",
        expected=", ".join((*FORMATS, *COLUMN_FORMATS)),
        fix="save the sheet as CSV (UTF-8)" if suffix in _SHEETS else None,
    )


def read_lines(path: Path, encoding: str | None = None) -> Table:
    """Open a plain text file as a table of one column, ``text``: one line, one text; empty lines count."""
    check_file(path)
    encoding = encoding_of(path, encoding)

    def stream(wanted: Sequence[str]) -> Iterator[Chunk]:
        start = 1
        with open_text(path, encoding) as file:
            while True:
                try:
                    block = _lines_of(file)
                except UnicodeError as error:
                    raise decoding_error(path, encoding) from error
                if not block:
                    return
                yield Chunk({"text": block}, np.arange(start, start + len(block)))
                start += len(block)

    return Table(str(path), ("text",), stream)


def _lines_of(file: TextIO) -> list[str]:
    """Return the next lines, at most ``CHUNK`` and, so that long ones do not fill the memory, about ``_CHARACTERS``; empty at the end."""
    block: list[str] = []
    size = 0
    for line in islice(file, CHUNK):
        block.append(line.rstrip("\n"))
        size += len(line)
        if size > _CHARACTERS:
            break
    return block


def check_file(path: Path) -> None:
    """Check that ``path`` is a file with something in it.

    Raises:
        UserError: it is not.
    """
    if path.is_dir():
        raise UserError("a folder stands where a file is expected", where=path, fix="name a file in it")
    if not path.exists():
        raise UserError("no such file", where=path, fix="check the path")
    if path.stat().st_size == 0:
        raise UserError("the file is empty", where=path, expected="text, or a header and rows", fix="give a file with data")


# --- CSV and TSV ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Csv:
    """How one CSV file is to be read."""

    path: Path
    encoding: str
    delimiter: str
    skipped: int
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL

    @contextmanager
    def opened(self) -> Iterator[TextIO]:
        """Open the file where its header begins."""
        with open_text(self.path, self.encoding, newline="") as file:
            for _ in range(self.skipped):
                file.readline()
            yield file

    def reader(self, file: TextIO) -> Any:
        # one limit for the whole process, which other libraries may have raised
        csv.field_size_limit(max(csv.field_size_limit(), _LONGEST))
        return csv.reader(file, delimiter=self.delimiter, quoting=self.quoting, strict=True)


def _open_csv(path: Path, encoding: str, say: Say) -> Table:
    dialect = dialect_of(path, encoding, say)
    form = _Csv(path, encoding, dialect.delimiter, dialect.skipped)
    # GLUE's files and many others hold bare quotes in TSV: read as quoting they would join rows
    if form.delimiter == "\t" and not _quoted(form):
        form = replace(form, quoting=csv.QUOTE_NONE)
    header = next(_csv_chunks(form), None)
    if header is None:
        raise UserError("the file is empty", where=path, expected="a header and rows", fix="give a file with data")
    names = check_columns(str(path), _named([name.strip().lstrip("\ufeff") for name in header[1][0]]))
    told: list[bool] = []

    def stream(wanted: Sequence[str]) -> Iterator[Chunk]:
        places = [names.index(name) for name in wanted]
        chunks = _csv_chunks(form, len(names))
        next(chunks)
        for lines, rows in chunks:
            lines, rows = _without_headers(form, names, lines, rows, say if not told else lambda _: None)
            columns = {name: [row[i] for row in rows] for name, i in zip(wanted, places, strict=True)}
            yield Chunk(columns, lines)
        told.append(True)

    return Table(str(path), names, stream)


def _named(header: Sequence[str]) -> list[str]:
    """Return the names of a header without the empty ones at its end, which Excel leaves behind; several empty ones within are numbered."""
    last = max((place for place, name in enumerate(header) if name), default=-1)
    kept = list(header[: last + 1])
    return [name or (f"column {place}" if kept.count("") > 1 else "") for place, name in enumerate(kept, 1)]


def _without_headers(
    form: _Csv, names: Sequence[str], lines: NDArray[np.int64], rows: list[list[str]], say: Say
) -> tuple[NDArray[np.int64], list[list[str]]]:
    """Leave out rows that are the header again, as in files that were put one behind the other."""
    header = [name.casefold() for name in names if name]
    again = [
        place
        for place, row in enumerate(rows)
        if row[0].strip().casefold() in ("", *header) and [cell.strip().casefold() for cell in row if cell.strip()] == header
    ]
    if form.delimiter == "|" and len(rows) and all(_RULE.fullmatch(cell) for cell in rows[0]) and lines[0] <= form.skipped + 2:
        # the line below the header of a table in Markdown, which is no row
        lines, rows, again = lines[1:], rows[1:], [place - 1 for place in again]
    if not again or len(header) < 2:
        return lines, rows
    say(f"{form.path.name}: the header stands again in row {lines[again[0]]}; rows like it are left out")
    keep = np.ones(len(rows), bool)
    keep[again] = False
    return lines[keep], [row for place, row in enumerate(rows) if keep[place]]


def _quoted(form: _Csv) -> bool:
    """Return whether quotes mean something in a TSV file: many are written without quoting, and a stray quote swallows rows."""
    with form.opened() as file:
        try:
            if not any(line.startswith('"') or '\t"' in line for line in file):
                return False
        except UnicodeError as error:
            raise decoding_error(form.path, form.encoding) from error
    with form.opened() as file:
        reader = form.reader(file)
        try:
            width = len(next(reader))
            return all(len(row) in (0, width) and not any("\t" in cell and "\n" in cell for cell in row) for row in reader)
        except csv.Error:
            return False


def _csv_chunks(form: _Csv, width: int | None = None) -> Iterator[tuple[NDArray[np.int64], list[list[str]]]]:
    """Yield lines and rows: first the header alone, then ``CHUNK`` rows at a time, blank lines left out."""
    with form.opened() as file:
        reader = form.reader(file)
        # the header by itself, since it decides how wide the rows must be
        size = 1
        while True:
            start = form.skipped + reader.line_num
            try:
                rows = list(islice(reader, size))
            except UnicodeError as error:
                raise decoding_error(form.path, form.encoding) from error
            except csv.Error as error:
                raise _csv_error(form, error) from error
            if not rows:
                return
            lines = _lines(rows, start, form.skipped + reader.line_num)
            full = [_holds_something(row, size) for row in rows]
            if not all(full):
                lines, rows = lines[np.array(full)], [row for row, has in zip(rows, full, strict=True) if has]
            if size > 1 and width is not None and set(map(len, rows)) - {width}:
                rows = [_cut(row, width) for row in rows]
                if set(map(len, rows)) - {width}:
                    raise _width_error(form, lines, rows, width)
            if rows:
                size = CHUNK
                yield lines, rows


def _holds_something(row: list[str], size: int) -> bool:
    """Return whether a row is more than a blank line, or empty cells as Excel writes them; a table of one column may have empty texts."""
    if len(row) < 2:
        # 0x1A alone: where DOS ended a file
        return bool(row) and (size > 1 or bool(row[0].strip())) and row[0] != "\x1a"
    return bool(row[0]) or any(row)


def _cut(row: list[str], width: int) -> list[str]:
    """Return a row without the empty cells behind its last column."""
    return row[:width] if len(row) > width and not any(row[width:]) else row


def _lines(rows: list[list[str]], start: int, stop: int) -> NDArray[np.int64]:
    """Return the line on which each row begins, when rows ``start + 1`` to ``stop`` were read."""
    if stop - start == len(rows):
        return np.arange(start + 1, stop + 1, dtype=np.int64)
    heights = [1 + sum(len(cell.splitlines()) - 1 if "\n" in cell else 0 for cell in row) for row in rows]
    heights = [height + sum(cell.endswith("\n") for cell in row) for height, row in zip(heights, rows, strict=True)]
    return start + 1 + np.concatenate([[0], np.cumsum(heights[:-1], dtype=np.int64)]).astype(np.int64)


def _csv_error(form: _Csv, error: csv.Error) -> UserError:
    """Read again row by row: the message names the row in which the bad record begins."""
    start = 1
    with form.opened() as file:
        reader = form.reader(file)
        with suppress(csv.Error):
            for _ in reader:
                start = form.skipped + reader.line_num + 1
    return UserError(
        "broken quoting",
        where=f"{form.path}, row {start}",
        found=str(error),
        expected='a field that holds a quote or a separator stands in "...", quotes inside it doubled',
        fix="close or double the quote in this row",
    )


def _width_error(form: _Csv, lines: NDArray[np.int64], rows: list[list[str]], width: int) -> UserError:
    bad = next(i for i, row in enumerate(rows) if len(row) != width)
    return UserError(
        "wrong number of fields",
        where=f"{form.path}, row {lines[bad]}",
        found=f"{len(rows[bad])} fields ({', '.join(shorten(cell) for cell in rows[bad][:6])})",
        expected=f"{width} fields, as in the header",
        fix=f'put a field that holds {form.delimiter!r} in "..."',
    )
