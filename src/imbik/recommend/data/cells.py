"""Columns of a file of ratings as numbers: ratings and times, with the row of what is neither."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from imbik.errors import UserError
from imbik.recommend.data.ratings import Array


def numbers(column: Any, role: str, path: Path, header: int) -> Array:
    """The numbers of a column, float64; the row of the first cell that is none is told."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = column.cast(pa.string())
    try:
        parsed = pc.cast(pc.utf8_trim_whitespace(text), pa.float64())
        values = np.asarray(parsed.to_numpy(), np.float64)
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


def times_of(column: Any, path: Path, header: int) -> Array:
    """Seconds, from numbers or from dates."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        stamps = pc.cast(column, pa.timestamp("us")) if pa.types.is_string(column.type) else column
        if pa.types.is_temporal(stamps.type):
            micros = stamps.cast(pa.timestamp("us")).cast(pa.int64())
            return np.asarray(micros.to_numpy(), np.float64) / 1e6
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        row = _first_undated(column) if pa.types.is_string(column.type) else 0
        if row:  # those above it are dates; else they are numbers, checked below
            raise UserError(
                "a time is not a date, as those above it are", where=f"{path}, row {row + 1 + header}, column time",
                found=repr(column[row].as_py()), expected="an ISO date, such as 2024-01-31", fix="correct or remove the row",
            ) from None  # fmt: skip
    return numbers(column, "time", path, header)


def _first_undated(column: Any) -> int:
    """Index of the first text that is not an ISO date, in a column that has one; by bisection."""
    import pyarrow as pa
    import pyarrow.compute as pc

    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            pc.cast(column.slice(low, middle - low), pa.timestamp("us"))
            low = middle
        except pa.ArrowInvalid:
            high = middle
    return low
