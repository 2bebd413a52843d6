"""A stream of rows cut into parts: the pieces that are answered, written and remembered whole."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from imbik.predict.sources import Rows

_ROWS, _FEWER = 20_000, 2_000
_IMAGES = 256  # their bytes are in memory, those of four parts for each process
_SMALL = 4_000_000  # bytes of an artefact that answers tens of thousands of rows a second


def rows_of_part(artefact: Path, *, images: bool = False) -> int:
    """Return how many rows are answered together: what a kill can lose of each process's work, some seconds."""
    if images:
        return _IMAGES
    size = sum(file.stat().st_size for file in artefact.rglob("*") if file.is_file())
    return _ROWS if size <= _SMALL else _FEWER


@dataclass(frozen=True)
class Written:
    """What is known of a part that is answered.

    Attributes:
        header: bytes at the beginning of its file that the next parts of one file leave out.
        rows: that are answered.
        broken: images that could not be read and were left out.
        first: the first of them.
    """

    header: int
    rows: int
    broken: int = 0
    first: str = ""


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
        if self.rows.images is not None:
            columns["image"] = list(map(_known_by, self.rows.images))
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
        held = rows if not len(held) else held + rows
        # a chunk may hold the rows of several parts
        while len(held) >= size:
            yield Part(number, number * size, held.between(0, size))
            number, held = number + 1, held.between(size, len(held))
    # what is left over: the last part alone may be short
    if len(held):
        yield Part(number, number * size, held)


def _known_by(image: object) -> str:
    """Return what changes when an image does: the hash of its bytes, or the size and time of its file, which is read only once."""
    if isinstance(image, bytes):
        return hashlib.blake2b(image, digest_size=16).hexdigest()
    try:
        found = os.stat(str(image))
    except OSError:
        return "no file"
    return f"{found.st_size} {found.st_mtime_ns}"
