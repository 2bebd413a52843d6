"""Ids of users and items: any values as text, and columns of them as integer codes against a table."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from imbik.errors import UserError
from imbik.recommend.data.remarks import on_ids, remark

if TYPE_CHECKING:
    import pyarrow as pa

_MISSING = ("NAType", "NaTType")  # pandas' markers, by name: pandas need not be installed


class Place(NamedTuple):
    """Where rows come from, for messages."""

    file: str | None
    first_row: int

    def row(self, index: int) -> str:
        """Return the place of the row with this index, counted from 0."""
        number = f"row {index + self.first_row}"
        return f"{self.file}, {number}" if self.file else number


class Encoded(NamedTuple):
    """A column of ids: int32 codes (N,), the table that they index, and what was changed on the way."""

    codes: NDArray[np.int32]
    table: NDArray[np.object_]
    notes: tuple[str, ...]


def id_text(value: object) -> str:
    """Return an id as text: blanks around it removed, in one Unicode form, a whole float without its point, nothing for a missing one.

    >>> [id_text(value) for value in (" ada ", 7, 7.0, 7.5, None, float("nan"))]
    ['ada', '7', '7', '7.5', '', '']
    """
    if isinstance(value, str):
        return _one_form(value)
    if is_missing(value):
        return ""
    if isinstance(value, bytes):
        return _one_form(value.decode("utf-8", "backslashreplace"))
    if isinstance(value, (float, np.floating)):
        number = float(value)
        # A column of integers with one hole in it becomes float in pandas: 7.0 is the user 7 of the other files.
        return str(int(number)) if number.is_integer() else str(value)
    return _one_form(str(value))


def is_missing(value: object) -> bool:
    """Return whether a value stands for a missing one: ``None``, NaN, pandas' ``NA`` and ``NaT``."""
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return bool(np.isnat(value))
    return value is None or type(value).__name__ in _MISSING or (isinstance(value, (float, np.floating)) and math.isnan(value))


def _one_form(text: str) -> str:
    """Return a text without blanks around it, its accented letters as single characters: macOS writes them as two."""
    return text.strip() if text.isascii() else unicodedata.normalize("NFC", text).strip()


def id_table(names: Iterable[str]) -> NDArray[np.object_]:
    """Return ids as an array (n,) of Python strings.

    NumPy's own text has one width for all, so that one long id would cost its length times all others, and it drops a
    NUL at the end, so that two ids could become one.
    """
    texts = list(names)
    table = np.empty(len(texts), dtype=object)
    table[:] = texts
    return table


def encode(ids: Sequence[object] | NDArray[np.generic] | pa.ChunkedArray, kind: str, place: Place) -> Encoded:
    """Turn a column of ids into codes in order of first appearance.

    Args:
        ids: any sequence, or a pyarrow column.
        kind: ``user`` or ``item``, for messages.
        place: where the rows come from, for messages.

    Raises:
        UserError: an id that is empty or missing, or whose bytes are no text.
    """
    import pyarrow.compute as pc

    column = pc.dictionary_encode(pc.fill_null(_texts(ids, kind, place), "")).combine_chunks()
    encoded = column.chunk(0) if hasattr(column, "chunk") else column  # combining keeps a chunked array chunked
    names = encoded.dictionary.to_pylist()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32)
    stripped = [_one_form(name) for name in names]
    if "" in stripped:
        row = int(np.flatnonzero(codes == stripped.index(""))[0])
        raise UserError(
            f"the {kind} id is empty",
            where=place.row(row),
            found="nothing",
            expected=f"a {kind} id",
            fix="fill it in or remove the row",
        )
    changed = sum(after != before for after, before in zip(stripped, names, strict=True))
    if not changed:
        return Encoded(codes, id_table(names), on_ids(names, kind))
    # Codes are in order of first appearance, and stay so when blanks make two ids one.
    positions: dict[str, int] = {}
    mapping = np.array([positions.setdefault(name, len(positions)) for name in stripped], np.int32)
    merged = len(names) - len(positions)
    cause = "had blanks around them, or accents as letters of their own, and were changed"
    note = remark(f"{changed:,} {kind} id(s) {cause}; {merged:,} became equal to another id")
    return Encoded(mapping[codes], id_table(positions), (note, *on_ids(positions, kind)))


def _texts(ids: Sequence[object] | NDArray[np.generic] | pa.ChunkedArray, kind: str, place: Place) -> pa.ChunkedArray:
    """Return the ids as a chunked column of text, null where one is missing."""
    import pyarrow as pa

    if isinstance(ids, (pa.Array, pa.ChunkedArray)):
        column = pa.chunked_array([ids]) if isinstance(ids, pa.Array) else ids
        if pa.types.is_floating(column.type):
            return _float_texts(column)
        try:
            return column.cast(pa.string())
        except pa.ArrowInvalid as error:
            raise UserError(
                f"a {kind} id is no text", where=place.file, found=str(error).splitlines()[0], expected="text in UTF-8"
            ) from None
    texts = [id_text(value) for value in ids]
    try:
        return pa.chunked_array([pa.array(texts, pa.string())])
    except UnicodeEncodeError:
        row = next(row for row, text in enumerate(texts) if _has_surrogate(text))
        raise UserError(
            f"a {kind} id is no text", where=place.row(row), found=ascii(texts[row]), expected="text without unpaired surrogates"
        ) from None


def _float_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return floats as text: whole ones without a point or an exponent, null where one is NaN."""
    import pyarrow as pa
    import pyarrow.compute as pc

    whole = pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), 2.0**63))
    integers = pc.if_else(whole, column, 0.0).cast(pa.int64()).cast(pa.string())
    return pc.if_else(pc.is_nan(column), None, pc.if_else(whole, integers, column.cast(pa.string())))


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)
