"""Ratings as coded triples: what was rated by whom, how, and when; sparse, with any ids.

A file of (user, item, rating[, time]) becomes a `Ratings`: integer codes against two tables of ids, float32 values,
and notes about everything that was merged, stripped or looked odd on the way in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np

from imbik.errors import UserError

Array = np.ndarray[Any, np.dtype[Any]]
Duplicates = Literal["last", "mean", "sum", "error"]


LARGEST = 1e15  # far from the end of float32, whose squares must be finite too


class Place(NamedTuple):
    """Where rows come from, for messages."""

    file: str | None
    first_row: int

    def row(self, index: int) -> str:
        """The place of the row with this index, counted from 0."""
        number = f"row {index + self.first_row}"
        return f"{self.file}, {number}" if self.file else number


class Compressed(NamedTuple):
    """One side of the matrix, row by row: row i owns `indices[indptr[i]:indptr[i + 1]]` and the same slice of `values`."""

    indptr: Array
    indices: Array
    values: Array


@dataclass(frozen=True)
class Ratings:
    """Observed cells of a users x items matrix.

    `users` and `items` are int32 codes into `user_ids` and `item_ids` (arrays of str), `values` float32, `times` float64
    or None; all of length N, no cell twice. `implicit` says that values are counts of events rather than opinions.

    >>> ratings = Ratings.of(["ada", "bob", "ada"], ["x", "x", "y"], [5, 3, 4])
    >>> len(ratings), ratings.shape, float(ratings.values.mean())
    (3, (2, 2), 4.0)
    """

    users: Array
    items: Array
    values: Array
    user_ids: Array
    item_ids: Array
    times: Array | None = None
    implicit: bool = False
    notes: tuple[str, ...] = field(default=(), compare=False)

    @staticmethod
    def of(
        users: Sequence[Any] | Array,
        items: Sequence[Any] | Array,
        values: Sequence[float] | Array | None = None,
        times: Sequence[float] | Array | None = None,
        *,
        implicit: bool | None = None,
        duplicates: Duplicates | None = None,
        where: str | None = None,
        first_row: int = 1,
    ) -> Ratings:
        """Ratings from three or four columns; ids are turned into strings, blanks around them dropped.

        Without `values` every row is an event of weight 1 and the data are implicit. A cell that occurs twice follows
        `duplicates`: `last` (the newest by time, else the last row; the default for opinions), `mean`, `sum` (the default
        for implicit data) or `error`.

        Messages name `where` (a file) and count its rows from `first_row`.

        Raises UserError for columns of different length, an empty id, a rating that float32 cannot hold, or no rows.
        """
        if implicit is None:
            implicit = values is None
        numbers = np.ones(len(users), np.float64) if values is None else np.asarray(values, np.float64)
        stamps = None if times is None else np.asarray(times, np.float64)
        place = Place(where, first_row)
        _check_columns(len(users), len(items), numbers, stamps, place)
        user_codes, user_ids, user_notes = _encode(users, "user", place)
        item_codes, item_ids, item_notes = _encode(items, "item", place)
        notes = user_notes + item_notes + _constant_notes(numbers, stamps, implicit)
        raw = Ratings(user_codes, item_codes, numbers.astype(np.float32), user_ids, item_ids, stamps, implicit)
        return _without_duplicates(raw, duplicates or ("sum" if implicit else "last"), notes, place)

    def __len__(self) -> int:
        return int(self.values.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """(users, items), counting ids of the tables, rated or not."""
        return len(self.user_ids), len(self.item_ids)

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest value seen."""
        return float(self.values.min()), float(self.values.max())

    def take(self, rows: Array) -> Ratings:
        """The same tables with only the given rows (indices or a mask)."""
        times = None if self.times is None else self.times[rows]
        return Ratings(self.users[rows], self.items[rows], self.values[rows], self.user_ids, self.item_ids, times, self.implicit)

    @cached_property
    def by_user(self) -> Compressed:
        """Rows are users, indices are items."""
        return compress(self.users, self.items, self.values, len(self.user_ids))

    @cached_property
    def by_item(self) -> Compressed:
        """Rows are items, indices are users."""
        return compress(self.items, self.users, self.values, len(self.item_ids))


def compress(rows: Array, columns: Array, values: Array, count: int) -> Compressed:
    """Sort triples by row (then column) into a `Compressed` of `count` rows; int32 indices, float32 values."""
    from scipy.sparse import csr_matrix

    width = int(columns.max()) + 1 if len(columns) else 1
    matrix = csr_matrix((values.astype(np.float32), (rows, columns)), shape=(count, width))
    matrix.sort_indices()
    return Compressed(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data)


def _check_columns(users: int, items: int, values: Array, times: Array | None, place: Place) -> None:
    lengths = [users, items, len(values)] + ([] if times is None else [len(times)])
    if len(set(lengths)) != 1:
        raise UserError("the columns differ in length", where=place.file, found=str(lengths), expected="one user, item and rating a row")
    if users == 0:
        raise UserError("there are no ratings", where=place.file, found="0 rows", expected="user, item, rating in each row")
    for bad, what, expected in (
        (~np.isfinite(values), "not numbers", "a finite number"),
        (np.abs(values) > LARGEST, "too large", f"at most {LARGEST:g} in size"),
    ):
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise UserError(
                f"{int(bad.sum())} rating(s) are {what}", where=place.row(row), found=str(values[row]), expected=expected,
                fix="correct or remove the row",
            )  # fmt: skip


def _encode(ids: Sequence[Any] | Array, kind: str, place: Place) -> tuple[Array, Array, tuple[str, ...]]:
    """Codes, the table of ids in order of first appearance, and notes about blanks that were stripped."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = ids if isinstance(ids, (pa.Array, pa.ChunkedArray)) else pa.array([str(x) for x in ids], pa.string())
    column = pc.fill_null(column.cast(pa.string()), "")
    encoded = pc.dictionary_encode(column)
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    table = np.array(encoded.dictionary.to_pylist(), dtype=object)
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32)
    stripped = np.array([text.strip() for text in table], dtype=object)
    if (stripped == "").any():
        code = int(np.flatnonzero(stripped == "")[0])
        first = int(np.flatnonzero(codes == code)[0])
        raise UserError(f"the {kind} id is empty", where=place.row(first), found="''", expected=f"a {kind} id")
    changed = int((stripped != table).sum())
    if not changed:
        return codes, table.astype(str), ()
    positions: dict[str, int] = {}
    mapping = np.array([positions.setdefault(text, len(positions)) for text in stripped], np.int32)
    merged = len(table) - len(positions)
    note = f"{changed} {kind} id(s) had blanks around them, which were removed; {merged} became equal to another id"
    return mapping[codes], np.array(list(positions), dtype=str), (note,)


def _constant_notes(values: Array, times: Array | None, implicit: bool) -> tuple[str, ...]:
    notes = []
    if not implicit and len(values) > 1 and np.ptp(values) == 0:
        notes.append(f"every rating is {values[0]:g}: nothing to predict; read such data as implicit feedback")
    if times is not None and len(times) > 1 and np.ptp(times) == 0:
        notes.append("every time stamp is the same: splits by time are not possible")
    return tuple(notes)


def _without_duplicates(raw: Ratings, rule: Duplicates, notes: tuple[str, ...], place: Place) -> Ratings:
    cell = raw.users.astype(np.int64) * len(raw.item_ids) + raw.items
    keys = (cell,) if raw.times is None else (raw.times, cell)
    order = np.lexsort(keys)
    ordered = cell[order]
    last = np.append(ordered[1:] != ordered[:-1], True)
    repeated = len(ordered) - int(last.sum())
    if repeated == 0:
        return Ratings(*_columns(raw), implicit=raw.implicit, notes=notes)
    if rule == "error":
        row = int(order[np.flatnonzero(~last)[0] + 1])
        cellname = f"user {raw.user_ids[raw.users[row]]}, item {raw.item_ids[raw.items[row]]}"
        raise UserError("a cell is rated twice", where=place.row(row), found=cellname, expected="one rating a cell")
    rows = np.sort(order[last])
    values = raw.values
    if rule in ("mean", "sum"):
        group = np.empty(len(cell), np.int64)
        group[order] = np.cumsum(np.append(0, last[:-1]))
        total = np.bincount(group, raw.values.astype(np.float64))
        count = np.bincount(group)
        values = (total / count if rule == "mean" else total)[group].astype(np.float32)
    kept = Ratings(raw.users, raw.items, values, raw.user_ids, raw.item_ids, raw.times, raw.implicit).take(rows)
    note = f"{repeated} row(s) repeat a (user, item) pair; rule: {rule}"
    return Ratings(*_columns(kept), implicit=raw.implicit, notes=(*notes, note))


def _columns(ratings: Ratings) -> tuple[Array, Array, Array, Array, Array, Array | None]:
    return ratings.users, ratings.items, ratings.values, ratings.user_ids, ratings.item_ids, ratings.times
