"""Text files of ratings cut into columns: which mark separates them, what quotes mean, and what a stray quote does."""

from __future__ import annotations

import csv
import io
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from imbik.errors import UserError
from imbik.recommend.data.remarks import remark

if TYPE_CHECKING:
    import pyarrow as pa

    from imbik.recommend.data.ratings import Array

SEPARATORS = ("::", "\t", ";", ",", "|", " ")
_STAND_INS = "\x1f\x1e\x1d\x1c\x01\x02\x03"
"""Single characters of which one, absent from the file, replaces a separator of several bytes: pyarrow takes one byte."""

_NEWLINE, _QUOTE = 10, 34
_SAMPLE = 200  # lines from which the separator is guessed

Quoting = Literal["none", "cells", "literal", "spanning"]
"""What ``"`` is in a file: not there; around cells of one line; a letter like others; around cells of several lines."""


class Cut(NamedTuple):
    """A file cut into columns of text."""

    table: pa.Table
    notes: tuple[str, ...]


def sample_lines(raw: bytes) -> list[str]:
    """Return the first lines that hold something, as text."""
    head = raw[: 1 << 18]
    lines = head.decode("utf-8", "replace").split("\n")
    if len(head) < len(raw) and len(lines) > 1:
        lines.pop()  # cut in the middle
    return [line.rstrip("\r") for line in lines if line.strip()][:_SAMPLE]


def separator_named(name: str) -> str:
    """Return the separator that a user asks for; a typed ``\\\\t`` is a tab.

    Raises:
        UserError: it is empty, or a quote or a line break.

    >>> separator_named("\\\\t")
    '\\t'
    """
    mark = {"tab": "\t", "space": " "}.get(name, name)
    if mark.startswith("\\") and len(mark) > 1:  # \t, \x01: a shell hands the letters on as they are typed
        with suppress(UnicodeDecodeError):
            mark = mark.encode("ascii", "backslashreplace").decode("unicode_escape")
    if not mark or '"' in mark or "\n" in mark or "\r" in mark:
        raise UserError(
            "impossible separator", where="--separator", found=repr(name), expected="what stands between columns, such as , or ; or \\t"
        )
    return mark


def split_line(line: str, mark: str) -> list[str]:
    """Return the cells of one line, without the quotes around them."""
    if len(mark) == 1 and '"' in line:
        return next(csv.reader([line], delimiter=mark), [])
    return [cell.strip('"') if cell.startswith('"') else cell for cell in line.split(mark)]


def guess_separator(lines: list[str]) -> tuple[str, tuple[str, ...]]:
    """Return the mark that cuts all lines into equally many columns, and a note where another one would do so too.

    Of several the first of ``SEPARATORS`` is taken, unless another one alone yields a third column of numbers: in
    ``shop::7,x,5`` the colons belong to an id.
    """
    counts = {mark: {_outside_quotes(line).count(mark) for line in lines} for mark in SEPARATORS}
    even = [mark for mark in SEPARATORS if len(counts[mark]) == 1 and 0 not in counts[mark]]
    if not even:
        return next((mark for mark in SEPARATORS if lines and mark in lines[0]), ","), ()
    strong = [mark for mark in even if mark != " "] or even
    numeric = [mark for mark in strong if _has_numbers(lines, mark)]
    best = (numeric or strong)[0]
    others = ", ".join(repr(mark) for mark in strong if mark != best)
    note = remark(f"columns are separated by {best!r}; {others} would cut every row alike too (--separator)")
    return best, (note,) if others else ()


def _outside_quotes(line: str) -> str:
    """Return the line without what its quotes enclose; with a stray quote the line as it is."""
    parts = line.split('"')
    return line if len(parts) % 2 == 0 else "".join(parts[::2])


def _has_numbers(lines: list[str], mark: str) -> bool:
    """Return whether the third column holds numbers below the first line, which may be a header."""
    for line in lines[1:] or lines:
        cells = split_line(line, mark)
        try:
            float(cells[2])
        except (IndexError, ValueError):
            return False
    return True


def cut(raw: bytes, mark: str, header: bool, path: Path, skipped: int = 0) -> Cut:
    """Cut a file into columns of text; rows without anything in them, and the header where it stands again, are left out and told.

    Args:
        raw: the file in UTF-8, lines ended by a line feed.
        mark: the separator.
        header: whether the first line names the columns; else they are called ``c0``, ``c1``, ...
        path: the file, for messages.
        skipped: lines of the file above these, for messages.

    Raises:
        UserError: rows of different length, rows of one column, or a quote that swallows rows.
    """
    single = _stand_in(raw, mark, path) if len(mark.encode()) > 1 else mark
    if single != mark:
        raw = raw.replace(mark.encode(), single.encode())
    quoting, line = quoting_of(raw, single)
    empty = 0
    if quoting != "spanning":
        raw, empty = re.subn(rb"\n(?: |%b)+(?=\r?\n|\r?\Z)" % re.escape(single.encode()), b"\n", raw)
    first = raw.split(b"\n", 1)[0].decode("utf-8", "replace").rstrip("\r")
    cells = first.split(single) if quoting in ("none", "literal") else split_line(first, single)
    names = [cell.strip() for cell in cells] if header else [f"c{number}" for number in range(len(cells))]
    _check_columns(names, first, mark, path)
    table = _parse(raw, single, names, header, quoting, path, mark, skipped)
    if single != mark:
        table = _with_separators(table, single, mark)
    if quoting == "spanning":
        _check_spanning(raw, table, single, path)
    rows = table.num_rows
    table = _without_header(table, names) if header else table
    notes = {
        remark(f"row {line + 1 + skipped}: a quote that encloses no cell; in this file quotes are read as letters"): quoting == "literal",
        remark(f"{empty:,} row(s) hold nothing and are left out; row numbers do not count them"): empty > 0,
        remark(f"{rows - table.num_rows:,} row(s) are the header again and are left out"): table.num_rows < rows,
    }
    return Cut(table, tuple(note for note, true in notes.items() if true))


def _check_columns(names: list[str], first: str, mark: str, path: Path) -> None:
    if len(names) < 2:
        raise UserError(
            "the file has one column",
            where=path,
            found=repr(first[:80]),
            expected=f"users and items, separated by {mark!r}",
            fix="name what separates the columns: --separator",
        )


def _with_separators(table: pa.Table, single: str, mark: str) -> pa.Table:
    """Put the separator back where its stand-in was cut no column: inside quotes it is text."""
    import pyarrow.compute as pc

    for number, name in enumerate(table.column_names):
        column = table.column(number)
        if pc.any(pc.match_substring(column, single)).as_py():
            table = table.set_column(number, name, pc.replace_substring(column, single, mark))
    return table


def _without_header(table: pa.Table, names: list[str]) -> pa.Table:
    """Leave out rows that are the header again, as in files that were put one behind the other."""
    import pyarrow as pa
    import pyarrow.compute as pc

    again = pa.chunked_array([pa.array([True] * table.num_rows, pa.bool_())])
    for name, column in zip(names, table.columns, strict=True):
        again = pc.and_(again, pc.equal(pc.utf8_lower(pc.utf8_trim_whitespace(column)), name.lower()))
        if not pc.any(again).as_py():
            return table
    return table.filter(pc.invert(again))


def _stand_in(raw: bytes, mark: str, path: Path) -> str:
    for letter in _STAND_INS:
        if letter.encode() not in raw:
            return letter
    raise UserError("the file holds too many control characters to be cut", where=path, found=f"separator {mark!r}")


def quoting_of(raw: bytes, mark: str) -> tuple[Quoting, int]:
    """Return what quotes mean in a file, and the index of the first line where they do not enclose cells.

    Many files are written without quoting, and one quote in them (``"heroes``) would swallow all rows up to the next
    one. Quotes enclose cells where in every line they open at the start of a cell and close at its end. Where they do
    not, they are letters if the lines have equally many columns in spite of them, and else enclose line breaks.

    >>> quoting_of(b'a,"b, c"\\n', ","), quoting_of(b'a,"b\\nc,d\\n', ",")
    (('cells', 0), ('literal', 0))
    """
    data = np.frombuffer(raw, np.uint8)
    quotes = np.flatnonzero(data == _QUOTE)
    if len(quotes) == 0:
        return "none", 0
    ends = np.flatnonzero(data == _NEWLINE)
    line = np.searchsorted(ends, quotes)
    ordinal = np.arange(len(quotes)) - np.searchsorted(line, line)  # of a quote within its line
    odd = np.bincount(line)[line] % 2 == 1
    stray = odd | ~_at_border(data, quotes, ordinal % 2 == 0, mark)
    if not stray.any():
        return "cells", 0
    first = int(line[stray][0])
    marks = np.searchsorted(ends, np.flatnonzero(data == ord(mark)))
    counts = np.bincount(marks, minlength=len(ends) + 1)  # (lines,)
    starts = np.append(0, ends + 1)
    filled = np.diff(np.append(starts, len(raw) + 1)) > 1 + (data[np.minimum(starts, len(raw) - 1)] == 13)
    return ("literal" if len(set(counts[filled].tolist())) == 1 else "spanning"), first


def _at_border(data: Array, quotes: Array, opens: Array, mark: str) -> Array:
    """Return for each quote whether it stands where its kind may: behind a separator, before one, or beside its double."""
    padded = np.concatenate([[_NEWLINE], data, [_NEWLINE]])
    neighbor = np.where(opens, padded[quotes], padded[quotes + 2])
    return np.asarray(np.isin(neighbor, [ord(mark), _NEWLINE, 13, _QUOTE]))


def _parse(raw: bytes, single: str, names: list[str], header: bool, quoting: Quoting, path: Path, mark: str, skipped: int) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv as arrow

    invalid: list[arrow.InvalidRow] = []

    def keep(row: arrow.InvalidRow) -> str:
        invalid.append(row)
        return "skip"

    unique = [f"{number}" for number in range(len(names))]  # pyarrow would give two columns of one name one type
    read = arrow.ReadOptions(column_names=unique, skip_rows=int(header), use_threads=False)
    quote = '"' if quoting in ("cells", "spanning") else False
    parse = arrow.ParseOptions(
        delimiter=single, quote_char=quote, newlines_in_values=quoting == "spanning", invalid_row_handler=keep
    )  # fmt: skip
    convert = arrow.ConvertOptions(column_types=dict.fromkeys(unique, pa.string()), strings_can_be_null=False)
    try:
        table = arrow.read_csv(io.BytesIO(raw), read, parse, convert)
    except pa.ArrowInvalid as error:
        raise UserError("the file cannot be read", where=path, found=str(error).splitlines()[0]) from error
    if invalid:
        row = invalid[0]
        place = f"{path}, row {row.number + skipped}" if row.number is not None else str(path)
        raise UserError(
            f"{len(invalid)} row(s) have another number of columns",
            where=place,
            found=f"{row.text!r}",
            expected=f"{row.expected_columns} columns separated by {mark!r}",
            fix="correct or remove the row; another separator is named by --separator",
        )
    return table.rename_columns(names)


def _check_spanning(raw: bytes, table: pa.Table, mark: str, path: Path) -> None:
    """Refuse a file in which a quote opens and closes in the wrong places: what it encloses may be rows.

    Raises:
        UserError: naming the line of the first such quote.
    """
    import pyarrow.compute as pc

    data = np.frombuffer(raw, np.uint8)
    quotes = np.flatnonzero(data == _QUOTE)
    wrong = ~_at_border(data, quotes, np.arange(len(quotes)) % 2 == 0, mark)
    if len(quotes) % 2:
        wrong[-1] = True
    width = table.num_columns
    swallowed = any(
        part.count(mark) >= width - 1
        for column in table.columns
        for cell in column.filter(pc.match_substring(column, "\n")).to_pylist()
        for part in cell.split("\n")
    )
    if wrong.any() or swallowed:
        _, line = quoting_of(raw, mark)
        raise UserError(
            "a quote that encloses no cell may swallow rows",
            where=f"{path}, row {line + 1}",
            found=repr(raw.split(b"\n")[line].decode("utf-8", "replace")[:80]),
            expected='cells that hold a separator or a line break in "...", quotes inside them doubled',
            fix="close or double the quote in this row",
        )
