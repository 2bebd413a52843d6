"""Files of ratings: CSV, TSV, ``::``-separated and Parquet, with or without a header, into :class:`Ratings`."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from imbik.data.formats.dialect import declared_separator, names_type
from imbik.data.formats.text import decoding_error, encoding_of_head, unpacked
from imbik.errors import UserError
from imbik.jobs.paths import with_home
from imbik.recommend.data.cells import numbers, plain
from imbik.recommend.data.ids import Place, id_text
from imbik.recommend.data.ratings import Duplicates, Ratings, check_implicit, check_rule
from imbik.recommend.data.remarks import remark
from imbik.recommend.data.roles import find_header, find_places
from imbik.recommend.data.separators import cut, guess_separator, sample_lines, separator_named, split_line
from imbik.recommend.data.times import times_of

if TYPE_CHECKING:
    import pyarrow as pa

_PARQUET = b"PAR1"


class _Columns(NamedTuple):
    """The columns of a file: whether it names them, whether that takes a row, how they were cut, what was noticed."""

    table: pa.Table
    named: bool
    header_rows: int
    how: str
    notes: tuple[str, ...]


class Pairs(NamedTuple):
    """Ids of users and items, row by row, and the number in the file of the first row."""

    users: list[str]
    items: list[str]
    first_row: int


def read_ratings(
    path: str | Path,
    *,
    user: str | None = None,
    item: str | None = None,
    rating: str | None = None,
    time: str | None = None,
    separator: str | None = None,
    encoding: str | None = None,
    implicit: bool | None = None,
    duplicates: Duplicates | None = None,
) -> Ratings:
    """Read triples (user, item, rating[, time]) from a file; what was guessed or merged is told in ``Ratings.notes``.

    A header is recognized by names such as ``userId``, ``movie_id``, ``rating``, ``timestamp``; without one the columns
    are taken in this order.

    Args:
        path: a file or a pipe, in UTF-8, UTF-16 with a mark, or ``encoding``.
        user: name of the column, or its number from 1; so for ``item``, ``rating`` and ``time``.
        item: see ``user``.
        rating: see ``user``; without such a column every row is an event.
        time: see ``user``; numbers or ISO dates, with a zone or without.
        separator: what stands between columns; guessed.
        encoding: of the text.
        implicit: whether the values are counts of events rather than opinions.
        duplicates: see :meth:`Ratings.of`.

    Raises:
        UserError: names file, row and column: a missing file or column, a rating that is no number, an empty id.

    >>> import tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "r.dat"
    >>> _ = file.write_text("ada::x::5\\nbob::x::3\\nada::y::4\\n")
    >>> read_ratings(file).shape
    (2, 2)
    """
    check_rule(duplicates)
    check_implicit(implicit)
    path = with_home(path)
    asked = {"user": user, "item": item, "rating": rating, "time": time}
    columns = _read(path, "CSV, TSV, '::'-separated text or Parquet", separator, encoding, [name for name in asked.values() if name])
    places, guesses = find_places(columns.table, asked, columns.named, path)
    place = Place(str(path), 1 + columns.header_rows)

    def column(role: str) -> pa.ChunkedArray:
        return plain(columns.table.column(places[role]))

    values = None if places["rating"] is None else numbers(column("rating"), "rating", place)
    ratings = Ratings.of(
        column("user"),
        column("item"),
        values,
        None if places["time"] is None else times_of(column("time"), place),
        implicit=implicit,
        duplicates=duplicates,
        where=str(path),
        first_row=place.first_row,
    )
    events = () if values is not None else (_events_note(columns, [place for place in places.values() if place is not None]),)
    return dataclasses.replace(ratings, notes=(*columns.notes, *guesses, *events, *ratings.notes))


def _events_note(columns: _Columns, used: list[int]) -> str:
    unread = [repr(name) for number, name in enumerate(columns.table.column_names) if number not in used]
    more = f"; not read: {', '.join(unread[:5])} (--rating-column)" if unread and columns.named else ""
    return remark(f"no rating column: each row is an event of weight 1 ({columns.how}){more}")


def read_pairs(
    path: str | Path, encoding: str | None = None, *, user: str | None = None, item: str | None = None, separator: str | None = None
) -> Pairs:
    """Read pairs of ids from a file like those of :func:`read_ratings`, turned into text as there; ignore other columns.

    Raises:
        UserError: no file, no column for one of the two, or no rows.
    """
    path = with_home(path)
    columns = _read(path, "pairs of user and item", separator, encoding, [name for name in (user, item) if name])
    places, _ = find_places(columns.table, {"user": user, "item": item}, columns.named, path, has_ratings=False)
    users, items = (_texts(columns.table.column(places[role])) for role in ("user", "item"))
    if not users:
        raise UserError("there are no pairs", where=path, found="0 rows", expected="user and item in each row")
    return Pairs(users, items, 1 + columns.header_rows)


def _texts(column: pa.ChunkedArray) -> list[str]:
    import pyarrow as pa

    missing = [value is None or value != value for value in column.to_pylist()]
    texts = plain(column).cast(pa.string()).to_pylist()
    return ["" if absent else id_text(text) for text, absent in zip(texts, missing, strict=True)]


def _read(path: Path, expected: str, separator: str | None, encoding: str | None, named: list[str]) -> _Columns:
    """Read all columns of a file, text or Parquet."""
    if path.is_dir() or not path.exists():
        raise UserError("a folder, not a file" if path.is_dir() else "file not found", where=path, expected=expected)
    try:
        raw = path.read_bytes()  # once: a pipe cannot be read again
    except OSError as error:
        raise UserError("the file cannot be read", where=path, found=error.strerror or str(error), expected=expected) from error
    raw = unpacked(raw, path)
    if raw.startswith(_PARQUET) or path.suffix.lower() in (".parquet", ".pq"):
        return _Columns(_parquet(raw, path), True, 0, "Parquet", ())
    text = _utf8(raw, encoding_of_head(raw[:8192], path, encoding), path)
    if text.startswith((b"{", b"[")):
        raise UserError("this is JSON", where=path, expected=expected, fix="write users, items and ratings as columns of CSV or Parquet")
    text = text.removesuffix(b"\x1a")  # where DOS ended a file
    if b"\n" not in text:
        text = text.replace(b"\r", b"\n")  # line ends of old Macs
    declared, rest = _declared(text)
    skipped = int(rest is not text)
    if not rest.split(b"\n", 1)[0].strip():
        raise UserError("the file starts with an empty line", where=path, expected="user, item, rating")
    lines = sample_lines(rest)
    asked = separator if separator is not None else declared
    mark, notes = (separator_named(asked), ()) if asked is not None else guess_separator(lines)
    header, guess = find_header([split_line(line, mark) for line in lines], named)
    pieces = cut(rest, mark, header, path, skipped=skipped)
    return _Columns(pieces.table, header, int(header) + skipped, f"separator {mark!r}", notes + guess + pieces.notes)


def _declared(text: bytes) -> tuple[str | None, bytes]:
    """Return the separator that Excel's first line names (``sep=;``), None where there is none, and the text below a line that is no row:
    this one, or the type that PowerShell writes."""
    first, _, rest = text.partition(b"\n")
    line = first[:200].decode("utf-8", "replace")
    declared = declared_separator(line)
    return declared, rest if declared or names_type(line) else text


def _utf8(raw: bytes, encoding: str, path: Path) -> bytes:
    """Return the text as UTF-8 without a mark."""
    try:
        text = raw.decode(encoding)
    except UnicodeError:
        raise decoding_error(path, encoding, raw) from None
    return raw if encoding == "utf-8" else text.encode()


def _parquet(raw: bytes, path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(io.BytesIO(raw)).read()  # two columns of one name are no damage
    except (pa.ArrowException, OSError) as error:
        raise UserError("not a Parquet file", where=path, found=str(error).splitlines()[0]) from error
