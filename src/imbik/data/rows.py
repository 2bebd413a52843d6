"""Reading one split: texts stream into the memory-mapped store, label cells into codes, and a key per row is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from imbik.data.columns import Columns
from imbik.data.formats.table import Chunk, Table
from imbik.data.label_column import LabelColumn
from imbik.data.splitting import keys_of
from imbik.data.text_store import TextStore, TextWriter
from imbik.errors import UserError, shorten
from imbik.images.store import ImageStore
from imbik.tasks.outputs import is_ragged, pack
from imbik.types import Examples, Note

_MOST_MISSING = 0.1  # share of rows without a text, above which the file is refused


Column: TypeAlias = TextStore | ImageStore
"""Texts or images that live in files."""


@dataclass(frozen=True)
class Rows:
    """A split as it was read; a :class:`imbik.tasks.label_cells.LabelledRows`.

    Attributes:
        where: the file, for messages.
        texts, pairs: the text columns.
        labels: the label columns; empty where the split carries none.
        keys: see :func:`imbik.data.splitting.keys_of`, (N,).
        empty: how many rows have an empty text.
        missing: how many labelled rows were left out, as their text is not there; and where the first stood.
        notes: what else a reader must know of what was read.
    """

    where: str
    texts: Column
    pairs: Column | None
    labels: tuple[LabelColumn, ...]
    keys: NDArray[np.int64]
    empty: int
    missing: tuple[int, str] = (0, "")
    notes: tuple[Note, ...] = ()

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
    gone = Missing(columns)
    empty = 0
    for table in tables:
        for chunk, first, second in stream_texts(table, columns, gone):
            texts.add(first)
            if pairs is not None and second is not None:
                pairs.add(second)
            for column in labels:
                column.add(chunk.columns[column.name], chunk.rows, table)
            keys.append(keys_of(first, second))
            empty += sum(not text or text.isspace() for text in first)
    where = tables[0].where
    gone.check(sum(map(len, keys)))
    if not keys:
        raise UserError("no rows", where=where, found="only a header", expected="a header and rows")
    for column in labels:
        column.close()
    store = texts.close()
    if empty == len(store):
        raise UserError("every text is empty", where=f"{where}, column {columns.text!r}", fix="name the text column with --text")
    return Rows(where, store, pairs.close() if pairs else None, labels, np.concatenate(keys), empty, (gone.count, gone.first))


def stream_texts(
    table: Table, columns: Columns, missing: Missing | None = None, also: Sequence[str] = ()
) -> Iterator[tuple[Chunk, Sequence[str], Sequence[str] | None]]:
    """Yield chunks of the wanted columns with their texts, and their second texts where there are any, checked.

    Args:
        table: of rows.
        columns: what is read; without labels every row is yielded, an empty text where none is there.
        missing: counts rows without a text over several tables.
        also: further columns that the chunks are to hold.

    Raises:
        UserError: a cell is not a text (file, row, column).
    """
    missing = missing or Missing(columns)
    wanted = dict.fromkeys((*columns.wanted(), *also))
    for chunk in map(partial(missing.without, table), table.stream(list(wanted))):
        yield chunk, _texts(chunk, columns.text, table), _texts(chunk, columns.pair, table) if columns.pair else None


class Missing:
    """Rows whose text is not there (null, NaN): left out where they carry labels, else empty, so that every row has its answer.

    Args:
        columns: what is read.

    Attributes:
        count: of rows that were left out.
        first: where the first of them stands.
    """

    def __init__(self, columns: Columns) -> None:
        self._names = [name for name in (columns.text, columns.pair) if name is not None]
        self._labelled = bool(columns.labels)
        self.count, self.first = 0, ""
        self._error: UserError | None = None

    def without(self, table: Table, chunk: Chunk) -> Chunk:
        """Return a chunk without such rows."""
        cells = {name: chunk.columns[name] for name in self._names}
        if all(set(map(type, column)) <= {str} for column in cells.values()):
            return chunk
        gone = [place for place, row in enumerate(zip(*cells.values(), strict=True)) if any(cell is None or cell != cell for cell in row)]
        if not gone:
            return chunk
        if not self._labelled:
            empty = {name: ["" if cell is None or cell != cell else cell for cell in column] for name, column in cells.items()}
            return replace(chunk, columns={**chunk.columns, **empty})
        if self._error is None:
            name = next(
                name for name in self._names if chunk.columns[name][gone[0]] is None or not isinstance(chunk.columns[name][gone[0]], str)
            )
            self.first = f"{table.at(int(chunk.rows[gone[0]]))}, column {name!r}"
            self._error = _no_text("the text is missing", self.first, chunk.columns[name][gone[0]])
        self.count += len(gone)
        keep = sorted(set(range(len(chunk.rows))) - set(gone))
        return Chunk({name: [column[place] for place in keep] for name, column in chunk.columns.items()}, chunk.rows[keep])

    def check(self, kept: int) -> None:
        """Refuse a table in which too many texts are missing: the column is the wrong one, or the file is broken.

        Raises:
            UserError: naming the first row.
        """
        if self._error is not None and self.count > _MOST_MISSING * (kept + self.count):
            raise self._error


def _no_text(problem: str, where: str, cell: object) -> UserError:
    return UserError(
        problem,
        where=where,
        found=shorten(cell) if isinstance(cell, str) else repr(cell)[:60],
        expected="a text",
        fix="fix or remove the row, or name another column with --text",
    )


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
            raise _no_text(problem, f"{table.at(int(row))}, column {name!r}", cell)
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


def examples(texts: Column, pairs: Column | None, targets: NDArray[Any] | None) -> Examples:
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
    assert isinstance(texts, Column) and (pairs is None or isinstance(pairs, Column))
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
