"""Label columns: streamed as codes of distinct values, then turned into targets once the task is known."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imbik.data.formats.table import Table, shorten
from imbik.errors import UserError
from imbik.types import TaskName

_MISSING = frozenset({"", "nan", "<na>"})  # what an empty cell is written as by spreadsheets and data frames
_MANY = 50_000  # distinct values after which a column must be numbers, which are then kept as an array
_REGRESSION_VALUES = 20


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
    """One label column of one split.

    Attributes:
        name: the column.
        values: its distinct values in order of appearance.
        codes: index into ``values`` of every row, (N,) int32; unused once ``numbers`` is set.
        numbers: (N,) float64, for a column of very many different numbers.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.numbers: NDArray[np.float64] | None = None
        self._lookup = _Codes()
        self._first: list[str] = []
        self._parts: list[NDArray[Any]] = []

    @property
    def values(self) -> list[str]:
        """The distinct values, in order of appearance."""
        return self._lookup.values_seen

    @property
    def codes(self) -> NDArray[np.int32]:
        """Index into ``values`` of every row, (N,)."""
        return np.concatenate(self._parts) if self._parts else np.empty(0, np.int32)

    def add(self, cells: Sequence[Any], rows: NDArray[np.int64], table: Table) -> None:
        """Take in a chunk of cells.

        Raises:
            UserError: too many different values that are no numbers.
        """
        names = table.names.get(self.name)
        plain = names is None and all(type(cell) is str for cell in cells)
        texts = cells if plain else [as_cell(cell, names) for cell in cells]
        if len(self.values) > _MANY:
            self._parts.append(np.array([self._number(t, r, table) for t, r in zip(texts, rows, strict=True)]))
            return
        known = len(self.values)
        codes = np.fromiter(map(self._lookup.__getitem__, texts), np.int32, len(texts))
        self._parts.append(codes)
        if len(self.values) > known:
            new, places = np.unique(codes, return_index=True)
            self._first += [table.at(int(rows[i])) for code, i in zip(new, places, strict=True) if code >= known]
        if len(self.values) > _MANY:
            numbers = np.array([self._number(v, w, None) for v, w in zip(self.values, self._first, strict=True)])
            self._parts = [numbers[self.codes]]

    def _number(self, value: str, row: Any, table: Table | None) -> float:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return number
        raise UserError(
            f"more than {_MANY:,} different values, and one is no number",
            where=f"{row if table is None else table.at(int(row))}, column {self.name!r}",
            found=shorten(value),
            expected="a label, or a finite number",
            fix="name the label column with --label",
        )

    def close(self) -> LabelColumn:
        """Finish: nothing more is added."""
        if len(self.values) > _MANY:
            self.numbers = np.concatenate(self._parts)
            self._parts = []
        return self

    def where(self, code: int) -> str:
        """``file, row N, column 'label'`` of the first row with this value."""
        return f"{self._first[code]}, column {self.name!r}"

    @property
    def unlabelled(self) -> bool:
        """Whether every cell is empty (or -1, which GLUE's test files have)."""
        present = {value.lower() for value in self.values} - _MISSING
        return self.numbers is None and present <= {"-1"} and (not present or len(self.values) == 1)

    def number_values(self) -> NDArray[np.float64] | None:
        """The distinct values as floats (missing: NaN), or None if one of them is no number."""
        try:
            return np.array([math.nan if value.lower() in _MISSING else float(value) for value in self.values])
        except ValueError:
            return None

    def check_present(self) -> None:
        """Raise :class:`UserError` at the first row without a label."""
        for code, value in enumerate(self.values):
            if value.lower() in _MISSING:
                raise UserError(
                    "a row without a label",
                    where=self.where(code),
                    found=shorten(value) if value else "an empty cell",
                    expected="a label in every row (or in none: an unlabelled split)",
                    fix="fill it in or remove the row",
                )


def as_cell(value: Any, names: Sequence[str] | None) -> str:
    """A label as text, whatever type the format gave it."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return json.dumps([as_cell(item, names) for item in value], ensure_ascii=False)
    if isinstance(value, float) and value.is_integer() and names is None:
        return str(value)
    if names is not None and not math.isnan(value):
        return names[int(value)] if 0 <= int(value) < len(names) else ("" if value == -1 else str(value))
    return str(value)


def guess_task(columns: Sequence[LabelColumn], labels: Sequence[str] | None) -> TaskName:
    """The task that the label columns of train speak for.

    Several columns, or lists: multi-label. Numbers with decimals, or more than 20 different ones: regression. Known
    ``labels`` (a teacher's) decide between classes and numbers. Everything else: classification.
    """
    if len(columns) > 1:
        return "multi-label"
    column = columns[0]
    if column.numbers is not None:
        return "regression"
    if column.values and all(value.startswith("[") and json_list(value) is not None for value in column.values):
        return "multi-label"
    if labels is not None:
        return "regression" if len(labels) == 1 else "classification"
    numbers = column.number_values()
    if numbers is None:
        return "classification"
    finite = numbers[np.isfinite(numbers)]
    decimals = bool((finite != np.round(finite)).any())
    return "regression" if decimals or len(np.unique(finite)) > _REGRESSION_VALUES else "classification"


def natural_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names sorted as people do: runs of digits count as numbers.

    >>> natural_order(["b10", "b9", "A1"])
    ('A1', 'b9', 'b10')
    """
    return tuple(sorted(set(names), key=_natural))


def _natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    if re.fullmatch(r"[-+]?\d+", name):
        return [(0, int(name), "")], name
    parts = re.split(r"(\d+)", name.casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part], name


def json_list(value: str) -> list[str] | None:
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return [as_cell(item, None).strip() for item in found] if isinstance(found, list) else None


def class_names(column: LabelColumn) -> list[str]:
    """The class that each distinct value stands for; ``1.0`` is class ``1`` where all values are whole numbers."""
    column.check_present()
    numbers = column.number_values()
    if numbers is None:
        return list(column.values)
    for code, number in enumerate(numbers):
        if not math.isfinite(number):
            raise _not_finite(column, code)
    if (numbers == np.round(numbers)).all():
        return [str(int(number)) if "." in value else value for value, number in zip(column.values, numbers, strict=True)]
    return list(column.values)


def _not_finite(column: LabelColumn, code: int) -> UserError:
    return UserError(
        "no finite number",
        where=column.where(code),
        found=shorten(column.values[code]),
        expected="a finite number, a point before the decimals",
        fix="mend or remove the row",
    )


def regression_targets(column: LabelColumn) -> NDArray[np.float32]:
    """The column as numbers, (N,) float32.

    Raises:
        UserError: a cell is empty, no number, NaN or infinite (file, row, column).
    """
    if column.numbers is not None:
        return column.numbers.astype(np.float32)
    column.check_present()
    numbers = np.empty(len(column.values), np.float64)
    for code, value in enumerate(column.values):
        try:
            numbers[code] = float(value)
        except ValueError:
            numbers[code] = math.nan
        if not abs(numbers[code]) <= np.finfo(np.float32).max:  # NaN fails as well
            raise _not_finite(column, code)
    return numbers[column.codes].astype(np.float32)
