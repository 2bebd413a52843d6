"""Times of ratings in seconds since 1970 in UTC: numbers, dates as text, and dates in memory."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imbik.errors import UserError
from imbik.recommend.data.cells import numbers
from imbik.recommend.data.ids import Place, is_missing

if TYPE_CHECKING:
    import pyarrow as pa

_FORMS = (
    (r"([0-9])\s*(?:UTC|GMT|[zZ])$", r"\1Z"),  # BigQuery writes 2024-01-31 10:00:00 UTC
    (r"([0-9])\s+([+-][0-9]{2}:?(?:[0-9]{2})?)$", r"\1\2"),
    (r"^([0-9]{4})/([0-9]{2})/([0-9]{2})", r"\1-\2-\3"),
)
"""Dates whose meaning is plain, and how pyarrow reads them. A day before its month or behind it cannot be told apart."""


def times_of(column: pa.ChunkedArray, place: Place) -> NDArray[np.float64]:
    """Parse a column of times, numbers or ISO dates, into seconds, float64, (N,).

    A date with a zone (``Z``, ``+03:00``, ``UTC``) counts in UTC, and so does one without.

    Raises:
        UserError: names the row of the first cell that is neither, or is missing.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_string(column.type):
        column = pc.utf8_trim_whitespace(column)
        column = pc.if_else(pc.equal(column, ""), None, column)
    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py()
        raise UserError(
            f"{column.null_count} time(s) are missing",
            where=f"{place.row(row)}, column time",
            found="nothing",
            expected="a time in each row",
            fix="fill it in or remove the row",
        )
    if pa.types.is_string(column.type):
        dates = column
        for form, plain in _FORMS:
            dates = pc.replace_substring_regex(dates, form, plain)
        kind, dated = _date_type(dates)
        if dated == 0:
            return numbers(column, "time", place)
        if dated < len(column):
            raise UserError(
                "a time is not a date, as those above it are",
                where=f"{place.row(dated)}, column time",
                found=repr(column[dated].as_py()),
                expected="an ISO date, such as 2024-01-31, with a zone in every row or in none",
                fix="correct or remove the row",
            )
        column = pc.cast(dates, kind)
    if not (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
        return numbers(column, "time", place)
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


def seconds_of(times: Sequence[object] | NDArray[Any], place: Place) -> NDArray[np.float64]:
    """Return times in memory as seconds, NaN where one is missing: numbers, ``datetime`` and ``date``, NumPy's and pandas' dates, ISO text.

    Raises:
        UserError: a time of another kind.
    """
    import pyarrow as pa

    column = np.asarray(times)
    if column.dtype.kind == "M":
        return _ticks_as_seconds(column)
    if column.dtype.kind not in "OUS":
        return np.asarray(column, np.float64)
    values = column.tolist()
    if any(isinstance(value, str) for value in values):
        texts = [value if isinstance(value, str) else None if is_missing(value) else str(value) for value in values]
        return times_of(pa.chunked_array([pa.array(texts, pa.string())]), place)
    return np.array([_second(value, place.row(row)) for row, value in enumerate(values)], np.float64)


def _ticks_as_seconds(column: NDArray[Any]) -> NDArray[np.float64]:
    """Return NumPy's dates as seconds in the unit that they have: nanoseconds of 64 bits end in 2262."""
    if np.datetime_data(column.dtype)[0] in ("Y", "M", "W", "D", "h", "m"):
        column = column.astype("datetime64[s]")
    unit, step = np.datetime_data(column.dtype)
    per_second = 10.0 ** (3 * ("s", "ms", "us", "ns", "ps", "fs", "as").index(unit)) / step
    return np.where(np.isnat(column), np.nan, column.astype(np.int64) / per_second)


def _second(value: object, where: str) -> float:
    if is_missing(value):
        return float("nan")
    if isinstance(value, datetime.datetime):
        # Python would take a time without a zone for one of this computer's zone
        return (value if value.tzinfo else value.replace(tzinfo=datetime.UTC)).timestamp()
    if isinstance(value, datetime.date):
        return datetime.datetime(value.year, value.month, value.day, tzinfo=datetime.UTC).timestamp()
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise UserError("a time is neither a number nor a date", where=where, found=repr(value), expected="seconds, or a date") from None
