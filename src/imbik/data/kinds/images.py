"""Reading one split of images: each is decoded once, so that what is broken is found before anything is learned."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from imbik.data.columns import Columns
from imbik.data.formats.table import Chunk, Table
from imbik.data.label_column import LabelColumn
from imbik.data.rows import Rows
from imbik.errors import UserError
from imbik.images.decode import Decoded, decode
from imbik.images.store import ImageWriter
from imbik.types import Note

_SKIP = "--skip-broken"
_CHUNK = 64  # images whose bytes are in memory at once


@dataclass
class _Found:
    """What was seen while a split was read.

    Attributes:
        changes: images that were changed to be read, by what was done, and the first of each.
        broken: images that were left out.
        first: the first of them.
    """

    changes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    broken: int = 0
    first: str = ""

    def changed(self, image: Decoded, name: str) -> None:
        """Count what was done to an image."""
        for change in image.changes:
            self.changes[change] += 1
            self.examples.setdefault(change, name)

    def notes(self, where: str) -> tuple[Note, ...]:
        """Return what readers must know of it."""
        notes = [Note.of(f"image_{kind}", count=count, file=where, first=self.examples[kind]) for kind, count in self.changes.items()]
        return (*notes, *([Note.of("images_broken", count=self.broken, file=where, first=self.first)] if self.broken else []))


def read_images(tables: Sequence[Table], columns: Columns, *, few_values: bool = True, skip_broken: bool = False) -> Rows:
    """Read the images of all tables (shards) of a split; see :func:`imbik.data.rows.read_rows`.

    Keys are of the pixels: the same picture stored twice has one key, whatever the files are called.

    Args:
        tables: in their order.
        columns: what is read of each.
        few_values: see :class:`imbik.data.label_column.LabelColumn`.
        skip_broken: leave out what cannot be read instead of refusing it.

    Raises:
        UserError: an image that is missing, broken, too large or none; or there are none.
    """
    reader = _Reader(columns.text, skip_broken)
    labels = tuple(LabelColumn(name, few_values=few_values) for name in columns.labels)
    for table in tables:
        for chunk in _small(table, columns.wanted()):
            kept = [place for place in range(len(chunk.rows)) if reader.take(chunk, place, table)]
            for column in labels:
                column.add([chunk.columns[column.name][place] for place in kept], chunk.rows[kept], table)
    where, found = tables[0].where, reader.found
    if not reader.keys:
        raise UserError("no images", where=where, found=f"{found.broken} that cannot be read" if found.broken else "no rows")
    for column in labels:
        column.close()
    return Rows(where, reader.writer.close(), None, labels, np.array(reader.keys, np.int64), 0, notes=found.notes(where))


def _small(table: Table, wanted: Sequence[str]) -> Iterator[Chunk]:
    """Yield the chunks of a table in smaller ones."""
    for chunk in table.stream(list(wanted)):
        for start in range(0, len(chunk.rows), _CHUNK):
            part = slice(start, start + _CHUNK)
            yield Chunk({name: cells[part] for name, cells in chunk.columns.items()}, chunk.rows[part])


class _Reader:
    """Takes in images one by one.

    Args:
        column: that holds them.
        skip_broken: whether what cannot be read is left out.

    Attributes:
        writer, keys: of those that were taken in.
        found: what was seen on the way.
    """

    def __init__(self, column: str, skip_broken: bool) -> None:
        self.column, self.skip_broken = column, skip_broken
        self.writer, self.keys, self.found = ImageWriter(), list[int](), _Found()

    def take(self, chunk: Chunk, place: int, table: Table) -> bool:
        """Take in one image; False: it is broken and left out.

        Raises:
            UserError: it is broken and must not be left out.
        """
        try:
            data, name, kept = _bytes_of(chunk.columns[self.column][place], table, int(chunk.rows[place]), self.column)
            image = decode(data, where=name)
        except UserError as error:
            if not self.skip_broken:
                error.fix = f"replace or remove it, or leave out what cannot be read with {_SKIP}"
                raise
            self.found.broken += 1
            self.found.first = self.found.first or str(error.where)
            return False
        # only of images that are kept
        self.found.changed(image, name)
        self.writer.add(name, data, kept=kept)
        digest = hashlib.blake2b(np.array(image.pixels.shape, "<i8").tobytes() + image.pixels.tobytes(), digest_size=8).digest()
        # 0 means that there is nothing to compare
        self.keys.append(int.from_bytes(digest, "little", signed=True) or 1)
        return True


def _bytes_of(cell: Any, table: Table, row: int, column: str) -> tuple[bytes, str, bool]:
    """Return the bytes of an image's cell, what it is called, and whether the bytes must be kept.

    Raises:
        UserError: the cell holds no image.
    """
    where = f"{table.at(row)}, column {column!r}"
    held = image_in(cell, table, where)
    if isinstance(held, bytes):
        return held, where, True
    try:
        return held.read_bytes(), str(held), False
    except OSError as error:
        raise UserError("the image cannot be read", where=held, found=error.strerror or str(error)) from None


def image_in(cell: Any, table: Table, where: str) -> bytes | Path:
    """Return what a cell holds of an image: its bytes, or the path of its file, which is meant from the table's folder on.

    Args:
        cell: bytes, a path, or both as Hugging Face's ``datasets`` stores them.
        table: of the cell.
        where: what messages call it.

    Raises:
        UserError: the cell holds no image.
    """
    if isinstance(cell, dict):
        cell = next((cell[name] for name in ("bytes", "path") if name in cell and cell[name] is not None), None)
    if isinstance(cell, bytes):
        return cell
    if isinstance(cell, str) and cell:
        return Path(table.where).parent / cell  # an absolute path stays as it is
    expected = "the bytes of an image, or the path of its file"
    found = "nothing" if cell is None or cell == "" else type(cell).__name__
    raise UserError("no image in the cell", where=where, found=found, expected=expected)
