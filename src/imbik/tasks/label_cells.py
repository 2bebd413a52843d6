"""Label columns as tasks see them, and what single cells mean: numbers, classes, lists."""

from __future__ import annotations

import json
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

    def is_missing(self, value: str) -> bool:
        """Whether a cell like this stands for no label."""

    def place(self, row: int) -> str:
        """``file, row N, column 'label'`` of a row; where rows share their values, as :meth:`where`."""

    def check_present(self) -> None:
        """Raise :class:`UserError` at the first row without a label."""


class LabelledRows(Protocol):
    """A split as it was read, as far as a task looks at it."""

    @property
    def where(self) -> str:
        """The file, for messages."""

    @property
    def texts(self) -> Sequence[Any]:
        """The texts, or images."""

    @property
    def pairs(self) -> Sequence[Any] | None:
        """The second texts."""

    @property
    def labels(self) -> Sequence[LabelCells]:
        """The label columns."""


_LARGEST = float(np.finfo(np.float32).max)


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
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if hasattr(value, "tolist"):  # a scalar or an array of NumPy, a tensor
        value = value.tolist()
    if value is None or value != value:  # NaN alone differs from itself
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
    if names is not None:
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


def number_of(value: str) -> float | None:
    """Return a cell as a number (possibly infinite), None for what is none; ``1_2`` is a name, although Python reads 12 in it.

    >>> number_of("1.5"), number_of("1_2"), number_of("one")
    (1.5, None, None)
    """
    try:
        return None if "_" in value else float(value)
    except ValueError:
        return None


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
        number = number_of(value)
        if number is None or not abs(number) <= _LARGEST:  # NaN fails as well
            raise not_finite(column, code)
        numbers[code] = number
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


def not_finite(column: LabelCells, code: int) -> UserError:
    """Return the message for a cell that is no number, or an infinite one."""
    return UserError(
        "not a finite number",
        where=column.where(code),
        found=shorten(column.values[code]),
        expected="a finite number, a point before the decimals",
        fix="fix or remove the row",
    )
