"""Label columns as they stream in: codes of distinct values, turned into targets by the task once that is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imbik.data.formats.table import Table
from imbik.errors import UserError, shorten
from imbik.tasks.label_cells import as_cell

_MISSING = frozenset({"", "nan", "<na>"})  # what an empty cell is written as by spreadsheets and data frames
_MANY = 50_000  # distinct values after which a column must be numbers, which are then kept as an array


class _Codes(dict[str, int]):
    """Cell -> code, made on first sight; cells that differ only by space around them share a code."""

    def __init__(self) -> None:
        super().__init__()
        self.values_seen: list[str] = []
        self._by_value: dict[str, int] = {}

    def __missing__(self, cell: str) -> int:
        value = cell.strip()
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
        self._lookup = _Codes()
        self._first: list[str] = []
        self._parts: list[NDArray[Any]] = []

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

    @property
    def unlabelled(self) -> bool:
        """Whether every cell is empty (or -1, which GLUE's test files have)."""
        present = {value.lower() for value in self.values} - _MISSING
        return self.numbers is None and present <= {"-1"} and (not present or len(self.values) == 1)

    def number_values(self) -> NDArray[np.float64] | None:
        """Return the distinct values as floats (missing: NaN), or None if one of them is not a number."""
        try:
            return np.array([math.nan if value.lower() in _MISSING else float(value) for value in self.values])
        except ValueError:
            return None

    def check_present(self) -> None:
        """Check that every row has a label.

        Raises:
            UserError: at the first row without one.
        """
        for code, value in enumerate(self.values):
            if value.lower() in _MISSING:
                raise UserError(
                    "a row without a label",
                    where=self.where(code),
                    found=shorten(value) if value else "an empty cell",
                    expected="a label in every row (or in none: an unlabelled split)",
                    fix="fill it in or remove the row",
                )
