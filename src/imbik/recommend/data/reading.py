"""Files of ratings: CSV, TSV, `::`-separated and Parquet, with or without a header, into `Ratings`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imbik.data.formats.text import decoding_error, encoding_of
from imbik.errors import UserError
from imbik.recommend.data.cells import numbers, times_of
from imbik.recommend.data.ratings import Duplicates, Ratings

NAMES = {
    "user": ("user", "user_id", "userid", "uid", "customer", "customer_id", "reviewerid", "kullanici", "kullanıcı"),
    "item": ("item", "item_id", "itemid", "iid", "movie", "movieid", "movie_id", "product", "product_id", "asin", "song",
             "artist", "artistid", "urun", "ürün", "film"),
    "rating": ("rating", "ratings", "score", "stars", "value", "count", "plays", "weight", "puan", "overall"),
    "time": ("time", "timestamp", "ts", "date", "unixreviewtime", "zaman"),
}  # fmt: skip
SEPARATORS = ("::", "\t", ";", ",", "|", " ")


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
    """Read triples (user, item, rating[, time]) from a file; what was guessed or merged is told in `Ratings.notes`.

    A header is recognized by names such as `userId`, `movie_id`, `rating`, `timestamp`; without one the columns are taken
    in this order. `user`, `item`, `rating`, `time` name columns (or give their position from 1). Without a rating column,
    or with `implicit=True`, the values are counts of events. Times may be numbers or ISO dates. Text is UTF-8, or UTF-16 with
    a mark, or in `encoding`.

    Raises UserError that names file, row and column: missing file or column, a rating that is not a number, an empty id.

    >>> import tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "r.dat"
    >>> _ = file.write_text("ada::x::5\\nbob::x::3\\nada::y::4\\n")
    >>> read_ratings(file).shape
    (2, 2)
    """
    path = _file(path, "CSV, TSV, '::'-separated text or Parquet")
    wanted = {"user": user, "item": item, "rating": rating, "time": time}
    table, header, guessed = _table(path, separator, encoding, [name for name in wanted.values() if name])
    places = _places(table, wanted, header, path)
    no_rating = places["rating"] is None
    values = None if no_rating else numbers(table.column(places["rating"]), "rating", path, header)
    if implicit and values is not None and (values <= 0).any():
        row = int(np.flatnonzero(values <= 0)[0])
        raise UserError(
            "an implicit count is not positive", where=f"{path}, row {row + 1 + header}", found=f"{values[row]:g}",
            expected="a count above 0", fix="remove rows that are not events, or read the file as ratings",
        )  # fmt: skip
    times = None if places["time"] is None else times_of(table.column(places["time"]), path, header)
    ratings = Ratings.of(
        table.column(places["user"]), table.column(places["item"]), values, times,
        implicit=implicit, duplicates=duplicates, where=str(path), first_row=1 + header,
    )  # fmt: skip
    note = (f"no rating column: each row is an event of weight 1 ({guessed})",) if no_rating else ()
    columns = ratings.users, ratings.items, ratings.values, ratings.user_ids, ratings.item_ids, ratings.times
    return Ratings(*columns, implicit=ratings.implicit, notes=note + ratings.notes)


class Pairs(NamedTuple):
    """Ids of users and items, row by row, and the number in the file of the first row."""

    users: list[str]
    items: list[str]
    first_row: int


def read_pairs(
    path: str | Path, encoding: str | None = None, *, user: str | None = None, item: str | None = None, separator: str | None = None
) -> Pairs:
    """Pairs of ids from a file like those of `read_ratings`, named and turned into text as there; other columns are ignored."""
    path = _file(path, "pairs of user and item")
    table, header, _ = _table(path, separator, encoding, [name for name in (user, item) if name])
    places = _places(table, {"user": user, "item": item}, header, path)
    users, items = (_texts(table.column(places[role])) for role in ("user", "item"))
    if not users:
        raise UserError("there are no pairs", where=path, found="0 rows", expected="user and item in each row")
    return Pairs(users, items, 1 + header)


def _file(path: str | Path, expected: str) -> Path:
    path = Path(path)
    if not path.is_file():
        raise UserError("a folder, not a file" if path.is_dir() else "file not found", where=path, expected=expected)
    return path


def _texts(column: Any) -> list[str]:
    import pyarrow as pa

    return [(text or "").strip() for text in column.cast(pa.string()).to_pylist()]


def _table(path: Path, separator: str | None, encoding: str | None, named: list[str]) -> tuple[Any, int, str]:
    """A pyarrow table of strings, 1 when the file has a header, and how it was read."""
    if path.suffix.lower() in (".parquet", ".pq"):
        return _parquet(path), 0, "Parquet"
    raw = _utf8(path, encoding_of(path, encoding))
    first = raw.split(b"\n", 1)[0].decode("utf-8", "replace").strip("\r")
    if not first.strip():
        raise UserError("the file starts with an empty line", where=path, expected="user, item, rating")
    mark = separator or next((s for s in SEPARATORS if s in first), ",")
    if len(mark) > 1:
        raw, first = raw.replace(mark.encode(), b"\x1f"), first.replace(mark, "\x1f")
    header = _is_header(first.split("\x1f" if len(mark) > 1 else mark), named)
    return _parse(raw, "\x1f" if len(mark) > 1 else mark, header, path), int(header), f"separator {mark!r}"


def _utf8(path: Path, encoding: str) -> bytes:
    """The bytes of the file as UTF-8 without a mark."""
    raw = path.read_bytes()
    try:
        text = raw.decode(encoding)
    except UnicodeError:
        raise decoding_error(path, encoding) from None
    return raw if encoding == "utf-8" else text.encode()


def _parquet(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise UserError("not a Parquet file", where=path, found=str(error).splitlines()[0]) from error


def _is_header(cells: list[str], named: list[str]) -> bool:
    known = {name for names in NAMES.values() for name in names}
    names = [cell.strip().strip('"').lower() for cell in cells]
    if any(name.lower() in names and not name.isdigit() for name in named):
        return True
    return sum(name in known for name in names) >= min(2, len(names))


def _parse(raw: bytes, mark: str, header: bool, path: Path) -> Any:
    import pyarrow as pa
    from pyarrow import csv

    invalid: list[Any] = []

    def keep(row: Any) -> str:
        invalid.append(row)
        return "skip"

    first = raw.split(b"\n", 1)[0].decode("utf-8", "replace").strip("\r").split(mark)
    names = [c.strip().strip('"') for c in first] if header else [f"c{i}" for i in range(len(first))]
    read = csv.ReadOptions(column_names=names, skip_rows=int(header), use_threads=False)
    parse = csv.ParseOptions(delimiter=mark, invalid_row_handler=keep)
    convert = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    try:
        table = csv.read_csv(io.BytesIO(raw), read, parse, convert)
    except pa.ArrowInvalid as error:
        raise UserError("the file cannot be read", where=path, found=str(error).splitlines()[0]) from error
    if invalid:
        row = invalid[0]
        place = f"{path}, row {row.number}" if row.number is not None else str(path)
        raise UserError(
            f"{len(invalid)} row(s) have another number of columns", where=place, found=f"{row.text!r}",
            expected=f"{row.expected_columns} columns separated by {mark!r}",
        )  # fmt: skip
    return table


def _places(table: Any, wanted: dict[str, str | None], header: int, path: Path) -> dict[str, Any]:
    """The column of each role: as wanted, else by its name, else (without a header) by the order of the roles."""
    names = list(table.column_names)
    lower = [name.lower() for name in names]
    places: dict[str, Any] = {}
    for order, (role, name) in enumerate(wanted.items()):
        if name is not None:
            places[role] = _named(names, lower, role, name, path)
            continue
        by_name = [i for i, n in enumerate(lower) if n in NAMES[role]]
        by_order = order if order < len(names) and not header and names[0] == "c0" else None
        places[role] = by_name[0] if by_name else by_order
    if wanted.get("time") is None and places.get("time") in [places[role] for role in places if role != "time"]:
        places["time"] = None  # guessed by order, and named for something else
    _check_places(table, places, path)
    return places


def _check_places(table: Any, places: dict[str, Any], path: Path) -> None:
    """Refuse a role without a column, two roles for one column, and columns that do not hold one value a row."""
    names = table.column_names
    for role in ("user", "item"):
        if places[role] is None:
            raise UserError(
                f"no {role} column", where=path, found=", ".join(names),
                expected=f"a column named {NAMES[role][0]} or similar", fix=f"name it with --{role}-column",
            )  # fmt: skip
    taken: dict[int, str] = {}
    for role, place in places.items():
        if place is None:
            continue
        kind = table.schema.field(place).type
        if not _plain(kind):
            raise UserError(
                "a column that cannot be read", where=f"{path}, column {names[place]}", found=kind, expected="one text or number a row"
            )
        if place in taken:
            raise UserError(
                f"one column for both {taken[place]} and {role}", where=path, found=f"column {place + 1} of {', '.join(names)}",
                expected="two columns", fix=f"name both with --{taken[place]}-column and --{role}-column",
            )  # fmt: skip
        taken[place] = role


def _plain(kind: Any) -> bool:
    """Whether a Parquet column of this type has a text for each row."""
    import pyarrow as pa

    try:
        pa.array([], kind).cast(pa.string())
    except pa.ArrowNotImplementedError:
        return False
    return True


def _named(names: list[str], lower: list[str], role: str, name: str, path: Path) -> int:
    if name.lower() in lower:
        return lower.index(name.lower())
    if name.isdigit() and 1 <= int(name) <= len(names):
        return int(name) - 1
    expected = f"one of these names, or a number from 1 to {len(names)}"
    raise UserError(f"no column {name!r} for the {role}", where=path, found=", ".join(names), expected=expected)
