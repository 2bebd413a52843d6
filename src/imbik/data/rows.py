"""Reading one split: texts stream into the memory-mapped store, label cells into codes, and a key per row is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imbik.data.columns import Columns
from imbik.data.formats.table import Chunk, Table
from imbik.data.label_column import LabelColumn
from imbik.data.splitting import keys_of
from imbik.data.text_store import TextStore, TextWriter
from imbik.errors import UserError, shorten
from imbik.tasks.outputs import is_ragged, pack
from imbik.types import Examples


@dataclass(frozen=True)
class Rows:
    """A split as it was read; a :class:`imbik.tasks.label_cells.LabelledRows`.

    Attributes:
        where: the file, for messages.
        texts, pairs: the text columns.
        labels: the label columns; empty where the split carries none.
        keys: see :func:`imbik.data.splitting.keys_of`, (N,).
        empty: how many rows have no text.
    """

    where: str
    texts: TextStore
    pairs: TextStore | None
    labels: tuple[LabelColumn, ...]
    keys: NDArray[np.int64]
    empty: int

    def unlabelled(self, known: Sequence[Collection[str]] = ()) -> bool:
        """Return whether no row carries a label.

        Args:
            known: of each label column, the labels that there are elsewhere.
        """
        names = known or [()] * len(self.labels)
        return all(column.unlabelled(there) for column, there in zip(self.labels, names, strict=False))


def read_rows(tables: Sequence[Table], columns: Columns, *, few_values: bool = True) -> Rows:
    """Read the wanted columns of all tables (shards) of a split.

    Args:
        tables: in their order.
        columns: what is read of each.
        few_values: see :class:`imbik.data.label_column.LabelColumn`.

    Raises:
        UserError: a text is missing or not a text, or there are no rows.
    """
    texts = TextWriter()
    pairs = TextWriter() if columns.pair else None
    labels = tuple(LabelColumn(name, few_values=few_values) for name in columns.labels)
    keys: list[NDArray[np.int64]] = []
    empty = 0
    for table in tables:
        for chunk in table.stream(columns.wanted()):
            first = _texts(chunk, columns.text, table)
            second = _texts(chunk, columns.pair, table) if columns.pair else None
            texts.add(first)
            if pairs is not None and second is not None:
                pairs.add(second)
            for column in labels:
                column.add(chunk.columns[column.name], chunk.rows, table)
            keys.append(keys_of(first, second))
            empty += sum(not text or text.isspace() for text in first)
    where = tables[0].where
    if not keys:
        raise UserError("no rows", where=where, found="only a header", expected="a header and rows")
    for column in labels:
        column.close()
    store = texts.close()
    if empty == len(store):
        raise UserError("every text is empty", where=f"{where}, column {columns.text!r}", fix="name the text column with --text")
    return Rows(where, store, pairs.close() if pairs else None, labels, np.concatenate(keys), empty)


def _texts(chunk: Chunk, name: str, table: Table) -> Sequence[str]:
    """Return the chunk's texts, checked in one go and searched only if something is wrong."""
    cells = [_words(cell) for cell in chunk.columns[name]] if any(map(_is_words, chunk.columns[name])) else chunk.columns[name]
    try:
        # fails on what is no str, and shows zero bytes and surrogates of all cells in one pass
        joined = "".join(cells)
        if "\x00" not in joined:
            joined.encode()
            return cells
    except (TypeError, UnicodeEncodeError):
        pass
    for cell, row in zip(cells, chunk.rows, strict=True):
        problem = _problem(cell)
        if problem is not None:
            raise UserError(
                problem,
                where=f"{table.at(int(row))}, column {name!r}",
                found=shorten(cell) if isinstance(cell, str) else repr(cell)[:60],
                expected="a text",
                fix="fix or remove the row, or name another column with --text",
            )
    return cells


def _is_words(cell: object) -> bool:
    return isinstance(cell, list)


def _words(cell: Any) -> Any:
    """Return a list of words as a text, parted by single spaces; everything else as it is."""
    return " ".join(cell) if _is_words(cell) and all(isinstance(word, str) for word in cell) else cell


def _problem(cell: object) -> str | None:
    if cell is None:
        return "the text is missing"
    if not isinstance(cell, str):
        return "not a text"
    if "\x00" in cell:
        return "a zero byte in the text"
    try:
        cell.encode()
    except UnicodeEncodeError:
        return "an unpaired surrogate in the text (broken \\u escape)"
    return None


def examples(texts: TextStore, pairs: TextStore | None, targets: NDArray[Any] | None) -> Examples:
    """Return the columns with their fingerprint: sha256 over the texts', pairs' and targets' own digests."""
    fingerprint = hashlib.sha256(texts.digest())
    fingerprint.update(pairs.digest() if pairs is not None else b"no pairs")
    if targets is None:
        fingerprint.update(b"no targets")
    else:
        for array in pack(targets) if is_ragged(targets) else (targets,):
            # one byte order, so that the fingerprint is the same on every machine
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            fingerprint.update(f"{little.dtype.kind}{array.shape}".encode() + little.tobytes())
    return Examples(texts, pairs, targets, fingerprint.hexdigest())


def take(source: Examples, rows: NDArray[np.int64]) -> Examples:
    """Return a view of some rows, with its own fingerprint."""
    texts = source.texts
    pairs = source.pairs
    assert isinstance(texts, TextStore) and (pairs is None or isinstance(pairs, TextStore))
    chosen = None if source.targets is None else source.targets[rows]
    return examples(texts.take(rows), None if pairs is None else pairs.take(rows), chosen)


def same_columns(columns: Columns, table: Table, labelled: bool) -> Columns:
    """Return the columns as another split's file has them: labels may be missing there, texts may not.

    Raises:
        UserError: a text column is missing, or a label column where ``labelled`` asks for it.
    """
    present = [name for name in columns.labels if name in table.columns]
    texts = [name for name in (columns.text, columns.pair) if name is not None]
    needed = texts + (list(columns.labels) if labelled or present else [])
    for name in needed:
        if name not in table.columns:
            raise UserError(
                f"no column {name!r}",
                where=table.where,
                found=f"columns {', '.join(table.columns)}",
                expected="the columns of the train file",
                fix="give every split the same header",
            )
    return replace(columns, labels=tuple(present))


def combined(*parts: Examples | None) -> str:
    """Return one fingerprint for several splits, hex."""
    return hashlib.sha256("".join(part.fingerprint if part else "-" for part in parts).encode()).hexdigest()
