"""Label columns as they stream in: codes of distinct values, turned into targets by the task once that is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imbik.data.formats.table import Table
from imbik.errors import UserError, shorten
from imbik.tasks.label_cells import as_cell, number_of
from imbik.tasks.labels.names import composed

_MISSING = frozenset({"", "<na>"})  # what an empty cell is written as
_NAN = "nan"  # missing too, but where it is the name of a class
_BLANK = frozenset({"-1", "-1.0"})  # what GLUE's test files have in the place of labels
_FEWEST = 4  # rows, in which numbers may rise by chance
_MANY = 50_000  # distinct values after which a column must be numbers, which are then kept as an array


class _Codes(dict[str, int]):
    """Cell -> code, made on first sight; cells that differ only by space around them, or in their Unicode form, share a code."""

    def __init__(self, form: Callable[[str], str]) -> None:
        super().__init__()
        self._form = form
        self.values_seen: list[str] = []
        self._by_value: dict[str, int] = {}

    def __missing__(self, cell: str) -> int:
        value = self._form(cell.strip())
        code = self._by_value.setdefault(value, len(self.values_seen))
        if code == len(self.values_seen):
            self.values_seen.append(value)
        self[cell] = code
        return code


class LabelColumn:
    """One label column of one split; a :class:`imbik.tasks.label_cells.LabelCells`.

    Args:
        name: the column.
        few_values: whether its cells repeat a set of values, or are numbers; False: every row may have a text of its own.

    Attributes:
        name: the column.
        numbers: (N,) float64, for a column of very many different numbers.
    """

    def __init__(self, name: str, *, few_values: bool = True) -> None:
        self.name = name
        self.numbers: NDArray[np.float64] | None = None
        self._most = _MANY if few_values else math.inf
        # what is no name stays as it was written, to the letter
        self._lookup = _Codes(composed if few_values else str)
        self._names_nan = False
        self._first: list[str] = []
        self._parts: list[NDArray[Any]] = []
        # where every row stands, for tasks whose cells are read row by row
        self._places: list[tuple[Table, NDArray[np.int64]]] | None = None if few_values else []

    @property
    def values(self) -> list[str]:
        """The distinct values, in order of appearance."""
        return self._lookup.values_seen

    @property
    def codes(self) -> NDArray[np.int32]:
        """Index into ``values`` of every row, (N,); unused once ``numbers`` is set."""
        return np.concatenate(self._parts) if self._parts else np.empty(0, np.int32)

    def add(self, cells: Sequence[Any], rows: NDArray[np.int64], table: Table) -> None:
        """Take in a chunk of cells.

        Args:
            cells: as the format gives them.
            rows: where each stands in ``table``.
            table: for class names and messages.

        Raises:
            UserError: too many different values that are not numbers.
        """
        names = table.names.get(self.name)
        # of CSV every cell is a str: nothing to convert, and the check is far cheaper than the
        # conversion
        plain = names is None and all(type(cell) is str for cell in cells)
        texts = cells if plain else [as_cell(cell, names) for cell in cells]
        if len(self.values) > self._most:
            self._parts.append(np.array([self._number(t, r, table) for t, r in zip(texts, rows, strict=True)]))
            return
        known = len(self.values)
        codes = np.fromiter(map(self._lookup.__getitem__, texts), np.int32, len(texts))
        self._parts.append(codes)
        if self._places is not None:
            self._places.append((table, rows))
        if len(self.values) > known:
            # the row where a value first stands, which messages name
            new, places = np.unique(codes, return_index=True)
            self._first += [table.at(int(rows[i])) for code, i in zip(new, places, strict=True) if code >= known]
        if len(self.values) > self._most:
            # from codes to numbers in one go: a million different scores would keep a million
            # strings
            numbers = np.array([self._number(v, w, None) for v, w in zip(self.values, self._first, strict=True)])
            self._parts = [numbers[self.codes]]

    def _number(self, value: str, row: int | str, table: Table | None) -> float:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return number
        raise UserError(
            f"more than {_MANY:,} different values, and one is not a number",
            where=f"{row if table is None else table.at(int(row))}, column {self.name!r}",
            found=shorten(value),
            expected="a label, or a finite number",
            fix="name the label column with --label",
        )

    def close(self) -> LabelColumn:
        """Finish: nothing more is added."""
        if len(self.values) > self._most:
            self.numbers = np.concatenate(self._parts)
            self._parts = []
        return self

    def where(self, code: int) -> str:
        """Return ``file, row N, column 'label'`` of the first row with this value."""
        return f"{self._first[code]}, column {self.name!r}"

    def place(self, row: int) -> str:
        """Return ``file, row N, column 'label'`` of a row; where rows share their values, of the first with its value."""
        if self._places is None:
            return self.where(int(self.codes[row]))
        left = row
        for table, rows in self._places:
            if left < len(rows):
                return f"{table.at(int(rows[left]))}, column {self.name!r}"
            left -= len(rows)
        raise IndexError(row)

    def unlabelled(self, known: Collection[str] = ()) -> bool:
        """Return whether every cell is empty, or says what test files without labels have in every row (``-1``, ``nan``).

        Args:
            known: the labels that there are: one of this name is a label all the same.
        """
        if self.numbers is not None:
            return False
        present = {value.lower() for value in self.values} - _MISSING - {_NAN} | {
            v for v in self.values if v.lower() == _NAN and v in known
        }
        return not present or (present <= _BLANK - set(known) and len(self.values) == 1)

    def counts_rows(self, *, steps: bool) -> bool:
        """Return whether the cells are whole numbers that rise from row to row, as the numbers of rows do.

        Args:
            steps: whether each must be the one before plus one.
        """
        if self.numbers is None and len(self.values) < len(self.codes):
            return False
        numbers = self.numbers if self.numbers is not None else np.array([number_of(value) or 0.0 for value in self.values])
        rise = np.diff(numbers)
        return len(numbers) >= _FEWEST and bool((numbers == np.round(numbers)).all() and ((rise == 1) if steps else (rise > 0)).all())

    def name_nan(self) -> None:
        """Take ``nan`` for the name of a class."""
        self._names_nan = True

    @property
    def has_names(self) -> bool:
        """Whether a cell holds a name, and no number."""
        return self.numbers is None and any(number_of(value) is None for value in self.values if value.lower() not in _MISSING)

    def is_missing(self, value: str) -> bool:
        """Return whether a cell like this stands for no label: it is empty, or ``nan`` in a column of numbers."""
        return value.lower() in _MISSING or (value.lower() == _NAN and not self._names_nan)

    def check_present(self) -> None:
        """Check that every row has a label.

        Raises:
            UserError: at the first row without one.
        """
        for code, value in enumerate(self.values):
            if self.is_missing(value):
                raise UserError(
                    "a row without a label",
                    where=self.where(code),
                    found=shorten(value) if value else "an empty cell",
                    expected="a label in every row (or in none: an unlabelled split)",
                    fix="fill it in or remove the row",
                )


def settle_nan(splits: Sequence[Sequence[LabelColumn]], labels: Sequence[str] | None) -> None:
    """Decide, for every split alike, whether ``nan`` is the name of a class: a teacher has it, or train's labels are names.

    Args:
        splits: label columns of each split, train first.
        labels: the names that a teacher knows, if any.
    """
    for place, column in enumerate(splits[0]):
        named = column.has_names if labels is None else any(label.lower() == _NAN for label in labels)
        for columns in splits:
            if named and place < len(columns):
                columns[place].name_nan()
