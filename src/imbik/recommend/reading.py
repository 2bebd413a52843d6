"""Files of ratings: CSV, TSV, `::`-separated and Parquet, with or without a header, into `Ratings`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from imbik.errors import UserError
from imbik.recommend.ratings import Array, Duplicates, Ratings
from imbik.textfile import decoding_error, encoding_of

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

    A header is recognised by names such as `userId`, `movie_id`, `rating`, `timestamp`; without one the columns are taken
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
    path = Path(path)
    if not path.is_file():
        raise UserError("file not found", where=path, expected="CSV, TSV, '::'-separated text or Parquet")
    wanted = {"user": user, "item": item, "rating": rating, "time": time}
    table, header, guessed = _table(path, separator, encoding, [name for name in wanted.values() if name])
    places = _places(list(table.column_names), wanted, header, path)
    no_rating = places["rating"] is None
    values = None if no_rating else _numbers(table.column(places["rating"]), "rating", path, header)
    if implicit and values is not None and (values <= 0).any():
        row = int(np.flatnonzero(values <= 0)[0])
        raise UserError(
            "an implicit count is not positive", where=f"{path}, row {row + 1 + header}", found=f"{values[row]:g}",
            expected="a count above 0", fix="remove rows that are not events, or read the file as ratings",
        )  # fmt: skip
    times = None if places["time"] is None else _times(table.column(places["time"]), path, header)
    ratings = Ratings.of(
        table.column(places["user"]), table.column(places["item"]), values, times,
        implicit=implicit, duplicates=duplicates, where=str(path), first_row=1 + header,
    )  # fmt: skip
    note = (f"no rating column: each row is an event of weight 1 ({guessed})",) if no_rating else ()
    columns = ratings.users, ratings.items, ratings.values, ratings.user_ids, ratings.item_ids, ratings.times
    return Ratings(*columns, implicit=ratings.implicit, notes=note + ratings.notes)


def read_pairs(path: str | Path, encoding: str | None = None) -> tuple[list[str], list[str]]:
    """User ids and item ids, row by row, from a file like those of `read_ratings`; other columns are ignored."""
    path = Path(path)
    if not path.is_file():
        raise UserError("file not found", where=path, expected="pairs of user and item")
    table, header, _ = _table(path, None, encoding, [])
    places = _places(list(table.column_names), dict.fromkeys(NAMES), header, path)
    users, items = ([str(x).strip() for x in table.column(places[role]).to_pylist()] for role in ("user", "item"))
    if not users:
        raise UserError("there are no pairs", where=path, found="0 rows", expected="user and item in each row")
    return users, items


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


def _places(names: list[str], wanted: dict[str, str | None], header: int, path: Path) -> dict[str, Any]:
    lower = [name.lower() for name in names]
    places: dict[str, Any] = {}
    for order, (role, name) in enumerate(wanted.items()):
        if name is not None:
            places[role] = _named(names, lower, role, name, path)
            continue
        by_name = [i for i, n in enumerate(lower) if n in NAMES[role]]
        by_order = order if order < len(names) and not header and names[0] == "c0" else None
        places[role] = by_name[0] if by_name else by_order
    for role in ("user", "item"):
        if places[role] is None:
            raise UserError(
                f"no {role} column", where=path, found=", ".join(names),
                expected=f"a column named {NAMES[role][0]} or similar", fix=f"name it with --{role}-column",
            )  # fmt: skip
    return places


def _named(names: list[str], lower: list[str], role: str, name: str, path: Path) -> int:
    if name.lower() in lower:
        return lower.index(name.lower())
    if name.isdigit() and 1 <= int(name) <= len(names):
        return int(name) - 1
    raise UserError(f"no column {name!r} for the {role}", where=path, found=", ".join(names))


def _numbers(column: Any, role: str, path: Path, header: int) -> Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    text = column.cast(pa.string())
    try:
        numbers = pc.cast(pc.utf8_trim_whitespace(text), pa.float64())
        values = np.asarray(numbers.to_numpy(), np.float64)
    except pa.ArrowInvalid:
        values = np.array([_number(t) for t in text.to_pylist()])
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        row = int(bad[0])
        unread_header = row == 0 and len(bad) < len(text) and not header
        raise UserError(
            f"{len(bad)} {role}(s) are not numbers", where=f"{path}, row {row + 1 + header}, column {role}",
            found=repr(text[row].as_py()), expected="a number, with a point as decimal mark",
            fix="if this row is a header, name the columns: --user-column, --item-column, --rating-column" if unread_header
            else "correct or remove the row",
        )  # fmt: skip
    return values


def _number(text: str | None) -> float:
    try:
        return float(text) if text is not None else float("nan")
    except ValueError:
        return float("nan")


def _times(column: Any, path: Path, header: int) -> Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        stamps = pc.cast(column, pa.timestamp("us")) if pa.types.is_string(column.type) else column
        if pa.types.is_temporal(stamps.type):
            micros = stamps.cast(pa.timestamp("us")).cast(pa.int64())
            return np.asarray(micros.to_numpy(), np.float64) / 1e6
    except pa.ArrowInvalid:
        pass  # not dates: numbers, checked below
    return _numbers(column, "time", path, header)
