"""Columns of ratings as numbers, with the row of what is none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imbik.errors import UserError
from imbik.recommend.data.ids import Place

if TYPE_CHECKING:
    import pyarrow as pa


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column whose text is of pyarrow's plain string type: not a dictionary, nor one of the large kinds."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    text = pa.types.is_large_string(column.type) or str(column.type) == "string_view"
    return column.cast(pa.string()) if text else column


def numbers(column: pa.ChunkedArray, role: str, place: Place) -> NDArray[np.float64]:
    """Parse a column of numbers into float64, (N,); true and false count as 1 and 0.

    Args:
        column: text, numbers or truth values.
        role: what the numbers are, for messages: ``rating``, ``time``.
        place: where the rows come from, for messages.

    Raises:
        UserError: names the row of the first cell that is not a finite number.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    text = column.cast(pa.string())
    try:
        parsed = pc.cast(pc.utf8_trim_whitespace(text), pa.float64())
        values = np.asarray(parsed.to_numpy(), np.float64)
    except pa.ArrowInvalid:  # slow, and only where something is wrong: the row must be found
        values = _truth_values(text)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        row = int(bad[0])
        unread_header = row == 0 and len(bad) < len(text) and place.first_row == 1
        fix = "if this row is a header, name the columns: --user-column, --item-column, --rating-column"
        raise UserError(
            f"{len(bad)} {role}(s) are not numbers",
            where=f"{place.row(row)}, column {role}",
            found=repr(text[row].as_py()),
            expected="seconds, or a date such as 2024-01-31" if role == "time" else "a number, with a point as decimal mark",
            fix=fix if unread_header else "correct or remove the row",
        )
    return values


def _truth_values(text: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return texts as numbers: all of them true or false (pandas writes True, False) as 1 and 0, NaN for what is no number."""
    cells = text.to_pylist()
    if all(cell is not None and cell.strip().lower() in ("true", "false") for cell in cells):
        return np.array([float(cell.strip().lower() == "true") for cell in cells])
    return np.array([_number(cell) for cell in cells])


def _number(text: str | None) -> float:
    """Return the number that a text is, NaN for none; Python's own 1_000 counts as none, as it does in pyarrow."""
    try:
        return float(text) if text is not None and "_" not in text else math.nan
    except ValueError:
        return math.nan
