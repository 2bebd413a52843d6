"""What every file format is turned into: a table that streams the wanted columns chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imbik.errors import UserError

CHUNK = 4096


@dataclass(frozen=True)
class Chunk:
    """Up to ``CHUNK`` rows of some columns.

    Attributes:
        columns: name -> values as the format gives them (``str`` in CSV; any JSON value elsewhere; None = not there).
        rows: where each row stands, (n,): lines of a text file as in an editor, the header counted.
    """

    columns: Mapping[str, Sequence[Any]]
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class Table:
    """A source of rows whose column names are known and whose rows are read only when asked for.

    Attributes:
        where: file (or hub split), for messages.
        columns: the column names.
        stream: wanted columns -> chunks.
        names: class names of columns that hold numbers for names (Hugging Face's ``ClassLabel``).
        unit: what a row is called in messages.
    """

    where: str
    columns: tuple[str, ...]
    stream: Callable[[Sequence[str]], Iterator[Chunk]]
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unit: str = "row"

    def at(self, row: int) -> str:
        """Return ``file, row N``."""
        return f"{self.where}, {self.unit} {row}"


def check_columns(where: str, columns: Sequence[str]) -> tuple[str, ...]:
    """Return the column names of a table.

    Raises:
        UserError: two are the same.
    """
    repeated = [name for i, name in enumerate(columns) if name in columns[:i]]
    if repeated:
        raise UserError("two columns have the same name", where=f"{where}, row 1", found=f"{repeated[0]!r} twice", fix="rename one")
    return tuple(columns)
