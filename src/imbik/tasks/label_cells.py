"""Label columns as tasks see them, and what single cells mean: numbers, classes, lists."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from imbik.errors import UserError, shorten


class LabelCells(Protocol):
    """One label column of one split: the distinct cells, and which of them each row has."""

    @property
    def name(self) -> str:
        """The column."""

    @property
    def values(self) -> Sequence[str]:
        """The distinct cells as texts, in order of appearance."""

    @property
    def codes(self) -> NDArray[np.int32]:
        """Index into ``values`` of every row, (N,); unused where ``numbers`` is set."""

    @property
    def numbers(self) -> NDArray[np.float64] | None:
        """The column itself, (N,), where it is one of very many different numbers."""

    def where(self, code: int) -> str:
        """``file, row N, column 'label'`` of the first row with this value."""

    def number_values(self) -> NDArray[np.float64] | None:
        """The distinct values as floats (missing: NaN), or None if one of them is no number."""

    def check_present(self) -> None:
        """Raise :class:`UserError` at the first row without a label."""


class LabelledRows(Protocol):
    """A split as it was read, as far as a task looks at it."""

    @property
    def where(self) -> str:
        """The file, for messages."""

    @property
    def texts(self) -> Sequence[str]:
        """The texts."""

    @property
    def pairs(self) -> Sequence[str] | None:
        """The second texts."""

    @property
    def labels(self) -> Sequence[LabelCells]:
        """The label columns."""


def as_cell(value: Any, names: Sequence[str] | None) -> str:
    """Return a label as text, whatever type the format gave it; lists and objects as JSON.

    Args:
        value: what the format gave.
        names: class names of a column that holds numbers for names.

    >>> as_cell([1, "a"], None), as_cell(1, ("no", "yes"))
    ('["1", "a"]', 'yes')
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    # before the numbers: bool is an int in Python
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return json.dumps([as_cell(item, names) for item in value], ensure_ascii=False)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    # "1.0" and not "1": whether a column holds classes is decided later, when all of it is known
    if isinstance(value, float) and value.is_integer() and names is None:
        return str(value)
    if names is not None and not math.isnan(value):
        return names[int(value)] if 0 <= int(value) < len(names) else ("" if value == -1 else str(value))
    return str(value)


def natural_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return distinct names sorted as people do: runs of digits count as numbers.

    >>> natural_order(["b10", "b9", "A1"])
    ('A1', 'b9', 'b10')
    """
    return tuple(sorted(set(names), key=_natural))


def _natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    # with its sign, which the split into runs of digits would lose
    if re.fullmatch(r"[-+]?\d+", name):
        return [(0, int(name), "")], name
    parts = re.split(r"(\d+)", name.casefold())
    # triples of one form, as a number and a text cannot be compared; the name itself breaks ties
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part], name


def json_list(value: str) -> list[str] | None:
    """Return the items of a JSON list as texts, None for what is no list.

    >>> json_list('["a", 1]'), json_list("a")
    (['a', '1'], None)
    """
    try:
        items = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return [as_cell(item, None).strip() for item in items] if isinstance(items, list) else None


def class_names(column: LabelCells) -> list[str]:
    """Return the class that each distinct value stands for; ``1.0`` is class ``1`` where all values are whole numbers.

    Raises:
        UserError: a row without a label, or a number that is not finite among numbers.
    """
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


def numbers_of(column: LabelCells) -> NDArray[np.float32]:
    """Return a column as numbers, (N,) float32.

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


def one_column(rows: LabelledRows, task: str) -> LabelCells:
    """Return the only label column.

    Raises:
        UserError: there are several.
    """
    if len(rows.labels) > 1:
        raise UserError(
            f"{task} has one label column",
            where=rows.where,
            found=", ".join(column.name for column in rows.labels),
            fix="name one column with --label, or use --task multi-label",
        )
    return rows.labels[0]


def _not_finite(column: LabelCells, code: int) -> UserError:
    return UserError(
        "not a finite number",
        where=column.where(code),
        found=shorten(column.values[code]),
        expected="a finite number, a point before the decimals",
        fix="fix or remove the row",
    )
