"""Columns that a program gives: one value a row, in an order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from numpy.typing import NDArray

from imbik.errors import UserError


def one_column(values: Any, what: str, where: str | None) -> Sequence[Any] | NDArray[Any]:
    """Return a column as something with a length and an order; a generator as a list.

    Args:
        values: a list, array, series, column of pyarrow, text (one id a letter) or generator.
        what: what the column holds, for messages.
        where: the file, for messages.

    Raises:
        UserError: no column, but nothing, a table, a set or a mapping.

    >>> one_column((n for n in "ab"), "users", None)
    ['a', 'b']
    """
    if isinstance(values, Iterator):
        return list(values)
    dimensions = getattr(values, "ndim", 1)
    if dimensions != 1 or isinstance(values, (Set, Mapping)) or not hasattr(values, "__len__"):
        fix = "name its column: table['user']" if dimensions == 2 else "give a list or an array"
        raise UserError(f"{what} are no column", where=where, found=type(values).__name__, expected="one value a row, in an order", fix=fix)
    return values  # type: ignore[no-any-return]
