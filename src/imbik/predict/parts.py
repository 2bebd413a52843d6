"""A stream of rows cut into parts: the pieces that are answered, written and remembered whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from imbik.predict.sources import Rows

_ROWS, _FEWER = 20_000, 2_000
_SMALL = 4_000_000  # bytes of an artefact that answers tens of thousands of rows a second


def rows_of_part(artefact: Path) -> int:
    """Return how many rows are answered together: what a kill can lose of each process's work, some seconds."""
    size = sum(file.stat().st_size for file in artefact.rglob("*") if file.is_file())
    return _ROWS if size <= _SMALL else _FEWER


@dataclass(frozen=True)
class Part:
    """Rows that are answered together.

    Attributes:
        number: from 0 on.
        first: the number of its first row among all, from 0 on.
        rows: what is answered.
    """

    number: int
    first: int
    rows: Rows

    def digest(self) -> str:
        """Return a hash of all that is answered or handed on: finished work is known by it."""
        kept = {f"kept {name}": cells for name, cells in self.rows.kept.items()}
        columns = {"text": self.rows.texts, "pair": self.rows.pairs or []} | kept
        whole = hashlib.blake2b(digest_size=16)
        for name, cells in columns.items():
            # the lengths keep ("a", "bc") and ("ab", "c") apart
            lengths = ",".join(map(str, map(len, cells)))
            whole.update(f"{name}\0{lengths}\0".encode())
            whole.update("".join(cells).encode("utf-8", "surrogatepass"))
        return whole.hexdigest()


def cut(stream: Iterable[Rows], size: int) -> Iterator[Part]:
    """Yield parts of ``size`` rows, the last one shorter; the same rows give the same parts, wherever chunks and files end.

    >>> [part.rows.texts for part in cut([Rows(["a"]), Rows(["b", "c", "d"])], 2)]
    [['a', 'b'], ['c', 'd']]
    """
    number, held = 0, Rows([])
    for rows in stream:
        held = rows if not len(held) else _joined(held, rows)
        # a chunk may hold the rows of several parts
        while len(held) >= size:
            yield Part(number, number * size, _between(held, 0, size))
            number, held = number + 1, _between(held, size, len(held))
    # what is left over: the last part alone may be short
    if len(held):
        yield Part(number, number * size, held)


def _joined(one: Rows, other: Rows) -> Rows:
    pairs = None if one.pairs is None or other.pairs is None else one.pairs + other.pairs
    return Rows(one.texts + other.texts, pairs, {name: cells + other.kept[name] for name, cells in one.kept.items()})


def _between(rows: Rows, start: int, stop: int) -> Rows:
    pairs = None if rows.pairs is None else rows.pairs[start:stop]
    return Rows(rows.texts[start:stop], pairs, {name: cells[start:stop] for name, cells in rows.kept.items()})
