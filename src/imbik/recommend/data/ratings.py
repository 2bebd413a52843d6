"""Ratings as coded triples: what was rated by whom, how, and when; sparse, with any ids.

A file of (user, item, rating[, time]) becomes a :class:`Ratings`: integer codes against two tables of ids, float32
values, and notes about everything that was merged, removed or looked odd on the way in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from imbik.errors import UserError
from imbik.recommend.data.given import one_column
from imbik.recommend.data.ids import Place, encode
from imbik.recommend.data.remarks import on_values, remark
from imbik.recommend.data.times import seconds_of

Array = np.ndarray[Any, np.dtype[Any]]
Duplicates = Literal["last", "mean", "sum", "error"]

LARGEST = 1e15
"""The largest rating in size: far from the end of float32, whose squares must be finite too."""

_SMALLEST = 1e-15
"""The largest rating of a table in size is at least this: far from where float32 knows no numbers."""


class Compressed(NamedTuple):
    """One side of the matrix, row by row: row i owns ``indices[indptr[i]:indptr[i + 1]]``, and so for ``values``."""

    indptr: Array
    indices: Array
    values: Array


@dataclass(frozen=True)
class Ratings:
    """Observed cells of a users x items matrix; no cell twice.

    Attributes:
        users: int32 codes into ``user_ids``, (N,).
        items: int32 codes into ``item_ids``, (N,).
        values: float32, (N,).
        user_ids: text, (users,).
        item_ids: text, (items,).
        times: seconds, float64, (N,), or None.
        implicit: whether ``values`` are counts of events rather than opinions.
        notes: what was noticed while the ratings were read.

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
        users: Sequence[object] | Array,
        items: Sequence[object] | Array,
        values: Sequence[float] | Array | None = None,
        times: Sequence[object] | Array | None = None,
        *,
        implicit: bool | None = None,
        duplicates: Duplicates | None = None,
        where: str | None = None,
        first_row: int = 1,
    ) -> Ratings:
        """Make ratings out of three or four columns.

        Args:
            users: ids of any kind; they are turned into text, and blanks around them are removed.
            items: the same for items.
            values: ratings; None: every row is an event of weight 1.
            times: seconds, or dates (NumPy's, pandas', ``datetime`` or ISO text); without a zone they count in UTC.
            implicit: whether the values are counts of events; None: if there are no values.
            duplicates: which value a cell has that occurs twice: ``last`` (the newest by time, else the last row; the
                default for opinions), ``mean``, ``sum`` (the default for events) or ``error``.
            where: the file, for messages.
            first_row: number of the first row in that file.

        Raises:
            UserError: what is no column, columns of different length, no rows, a missing id, rating or time, a rating
                that float32 cannot hold, a count of events that is not positive, an unknown rule for duplicates.
        """
        check_rule(duplicates)
        check_implicit(implicit)
        if implicit is None:
            implicit = values is None
        place = Place(where, first_row)
        users, items = one_column(users, "users", where), one_column(items, "items", where)
        numbers = np.ones(len(users), np.float64) if values is None else _floats(one_column(values, "ratings", where), where)
        seconds = None if times is None else seconds_of(one_column(times, "times", where), place)
        _check_columns(len(users), len(items), numbers, seconds, place)
        if implicit:
            _check_counts(numbers, place)
        user_side = encode(users, "user", place)
        item_side = encode(items, "item", place)
        notes = user_side.notes + item_side.notes + on_values(numbers, seconds, implicit=implicit)
        raw = Ratings(
            users=user_side.codes,
            items=item_side.codes,
            values=numbers.astype(np.float32),
            user_ids=user_side.table,
            item_ids=item_side.table,
            times=seconds,
            implicit=implicit,
            notes=notes,
        )
        return _without_duplicates(raw, duplicates or ("sum" if implicit else "last"), place)

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
        """Return the given rows (indices or a mask) against the same tables; notes stay behind."""
        return Ratings(
            users=self.users[rows],
            items=self.items[rows],
            values=self.values[rows],
            user_ids=self.user_ids,
            item_ids=self.item_ids,
            times=None if self.times is None else self.times[rows],
            implicit=self.implicit,
        )

    @cached_property
    def by_user(self) -> Compressed:
        """Rows are users, indices are items."""
        return compress(self.users, self.items, self.values, len(self.user_ids))

    @cached_property
    def by_item(self) -> Compressed:
        """Rows are items, indices are users."""
        return compress(self.items, self.users, self.values, len(self.item_ids))


def compress(rows: Array, columns: Array, values: Array, count: int) -> Compressed:
    """Sort triples by row, then column, into a :class:`Compressed` of ``count`` rows; int32 indices, float32 values."""
    from scipy.sparse import csr_matrix

    width = int(columns.max()) + 1 if len(columns) else 1
    matrix = csr_matrix((values.astype(np.float32), (rows, columns)), shape=(count, width))
    matrix.sort_indices()
    return Compressed(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data)


def check_rule(duplicates: str | None, where: str = "duplicates") -> None:
    """Check that a rule for duplicates is known.

    Raises:
        UserError: it is not.
    """
    if duplicates is not None and duplicates not in get_args(Duplicates):
        raise UserError("unknown rule for duplicates", where=where, found=repr(duplicates), expected=", ".join(get_args(Duplicates)))


def check_implicit(implicit: bool | None) -> None:
    """Check that ``implicit`` is a truth value: the text ``no`` would count as true.

    Raises:
        UserError: it is not.
    """
    if implicit is not None and not isinstance(implicit, (bool, np.bool_)):
        raise UserError("not a truth value", where="implicit", found=repr(implicit), expected="True, False or None")


def _floats(values: Sequence[object] | Array, where: str | None) -> Array:
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise UserError("ratings are not numbers", where=where, found=str(error), expected="numbers") from None


def _check_counts(values: Array, place: Place) -> None:
    if (values <= 0).any():
        row = int(np.flatnonzero(values <= 0)[0])
        raise UserError(
            "an implicit count is not positive",
            where=place.row(row),
            found=f"{values[row]:g}",
            expected="a count above 0",
            fix="remove rows that are not events, or read the file as ratings",
        )


def _check_columns(users: int, items: int, values: Array, times: Array | None, place: Place) -> None:
    lengths = [users, items, len(values)] + ([] if times is None else [len(times)])
    if len(set(lengths)) != 1:
        raise UserError("the columns differ in length", where=place.file, found=str(lengths), expected="one user, item and rating a row")
    if users == 0:
        raise UserError("there are no ratings", where=place.file, found="0 rows", expected="user, item, rating in each row")
    for bad, what, expected in (
        (~np.isfinite(values), "not numbers", "a finite number"),
        (np.abs(values) > LARGEST, "too large", f"at most {LARGEST:g} in size"),
        ((values != 0) & (np.abs(values).max() < _SMALLEST), "too small", f"a unit in which some are {_SMALLEST:g} or more in size"),
    ):
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise UserError(
                f"{int(bad.sum())} rating(s) are {what}",
                where=place.row(row),
                found=str(values[row]),
                expected=expected,
                fix="correct or remove the row",
            )
    if times is not None and not np.isfinite(times).all():
        # A NaN sorts behind every number: the missing time would count as the newest.
        missing = np.flatnonzero(~np.isfinite(times))
        raise UserError(
            f"{len(missing)} time(s) are missing",
            where=place.row(int(missing[0])),
            found=str(times[missing[0]]),
            expected="a time in each row",
            fix="fill it in or remove the row; without a column of times the last row of a cell counts",
        )


def _without_duplicates(raw: Ratings, rule: Duplicates, place: Place) -> Ratings:
    """Keep one row for each cell, by the rule, in the order of the file."""
    cell = raw.users.astype(np.int64) * len(raw.item_ids) + raw.items  # (N,)
    keys = (cell,) if raw.times is None else (raw.times, cell)
    order = np.lexsort(keys)  # by cell, then by time, then by row: the last of a group is the newest
    ordered = cell[order]
    last = np.append(ordered[1:] != ordered[:-1], True)
    repeated = len(ordered) - int(last.sum())
    if repeated == 0:
        return raw
    if rule == "error":
        row = int(order[np.flatnonzero(~last)[0] + 1])
        cell_name = f"user {raw.user_ids[raw.users[row]]}, item {raw.item_ids[raw.items[row]]}"
        raise UserError("a cell is rated twice", where=place.row(row), found=cell_name, expected="one rating a cell")
    values = raw.values
    if rule in ("mean", "sum"):
        group = np.empty(len(cell), np.int64)
        group[order] = np.cumsum(np.append(0, last[:-1]))
        total = np.bincount(group, raw.values.astype(np.float64))
        count = np.bincount(group)
        values = (total / count if rule == "mean" else total)[group].astype(np.float32)
    rows = np.sort(order[last])
    return Ratings(
        users=raw.users[rows],
        items=raw.items[rows],
        values=values[rows],
        user_ids=raw.user_ids,
        item_ids=raw.item_ids,
        times=None if raw.times is None else raw.times[rows],
        implicit=raw.implicit,
        notes=(*raw.notes, remark(f"{repeated:,} row(s) repeat a (user, item) pair; rule: {rule}")),
    )
