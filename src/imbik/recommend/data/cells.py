"""Columns of a file of ratings as numbers: ratings and times, with the row of what is neither."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from imbik.errors import UserError
from imbik.recommend.data.ratings import Array

if TYPE_CHECKING:
    import pyarrow as pa


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column whose text is of pyarrow's plain string type: not a dictionary, nor one of the large kinds."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    text = pa.types.is_large_string(column.type) or str(column.type) == "string_view"
    return column.cast(pa.string()) if text else column


def numbers(column: pa.ChunkedArray, role: str, path: Path, header: int) -> Array:
    """Parse a column of numbers into float64, (N,).

    Args:
        column: text or numbers.
        role: what the numbers are, for messages: ``rating``, ``time``.
        path: the file, for messages.
        header: 1 where the file has a row of names.

    Raises:
        UserError: names the row of the first cell that is not a finite number.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    text = column.cast(pa.string())
    try:
        parsed = pc.cast(pc.utf8_trim_whitespace(text), pa.float64())
        values = np.asarray(parsed.to_numpy(), np.float64)
    except pa.ArrowInvalid:  # slow, and only where something is wrong: the row must be found
        values = np.array([_number(cell) for cell in text.to_pylist()])
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        row = int(bad[0])
        unread_header = row == 0 and len(bad) < len(text) and not header
        fix = "if this row is a header, name the columns: --user-column, --item-column, --rating-column"
        raise UserError(
            f"{len(bad)} {role}(s) are not numbers",
            where=f"{path}, row {row + 1 + header}, column {role}",
            found=repr(text[row].as_py()),
            expected="a number, with a point as decimal mark",
            fix=fix if unread_header else "correct or remove the row",
        )
    return values


def _number(text: str | None) -> float:
    """Return the number that a text is, NaN for none; Python's own 1_000 counts as none, as it does in pyarrow."""
    try:
        return float(text) if text is not None and "_" not in text else math.nan
    except ValueError:
        return math.nan


def times_of(column: pa.ChunkedArray, path: Path, header: int) -> Array:
    """Parse a column of times, numbers or ISO dates, into seconds, float64, (N,).

    A date with a zone (``Z``, ``+03:00``) counts in UTC, and so does one without.

    Raises:
        UserError: names the row of the first cell that is neither, or is missing.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py()
        raise UserError(
            f"{column.null_count} time(s) are missing",
            where=f"{path}, row {row + 1 + header}, column time",
            found="nothing",
            expected="a time in each row",
            fix="fill it in or remove the row",
        )
    if pa.types.is_string(column.type):
        column = pc.utf8_trim_whitespace(column)
        kind, dated = _date_type(column)
        if dated == 0:
            return numbers(column, "time", path, header)
        if dated < len(column):
            raise UserError(
                "a time is not a date, as those above it are",
                where=f"{path}, row {dated + 1 + header}, column time",
                found=repr(column[dated].as_py()),
                expected="an ISO date, such as 2024-01-31, with a zone in every row or in none",
                fix="correct or remove the row",
            )
        column = pc.cast(column, kind)
    if not (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
        return numbers(column, "time", path, header)
    unit = column.type.unit if pa.types.is_timestamp(column.type) else "ms"
    ticks = column.cast(pa.timestamp(unit)).cast(pa.int64())
    per_second = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[unit]
    return np.asarray(ticks.to_numpy(), np.float64) / per_second


def _date_type(column: pa.ChunkedArray) -> tuple[pa.DataType, int]:
    """Return the type as which most texts parse from the first on, and how many do: without a zone or with, to the nanosecond."""
    import pyarrow as pa

    # Microseconds first: nanoseconds of 64 bits reach from 1677 to 2262 alone.
    kinds = [pa.timestamp(unit, zone) for unit in ("us", "ns") for zone in (None, "UTC")]
    best, reach = kinds[0], 0
    for kind in kinds:
        dated = _first_undated(column, kind)
        if dated > reach:
            best, reach = kind, dated
        if reach == len(column):
            break
    return best, reach


def _first_undated(column: pa.ChunkedArray, kind: pa.DataType) -> int:
    """Return the index of the first text that is not a date of this type, the length where all are; by bisection."""
    import pyarrow as pa
    import pyarrow.compute as pc

    low, high = 0, len(column) + 1  # the first ``low`` are dates; the first ``high`` are not
    while high - low > 1:
        middle = len(column) if low == 0 and high == len(column) + 1 else (low + high) // 2
        try:
            pc.cast(column.slice(low, middle - low), kind)
            low = middle
        except pa.ArrowInvalid:
            high = middle
    return low
