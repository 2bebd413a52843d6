"""Raw text, document by document: text files, folders, tables (CSV, JSON, Parquet) or a data set of the hub, streamed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imbik.data.columns import ColumnNames, choose
from imbik.data.formats.csv import FORMATS, open_table, read_lines
from imbik.data.formats.table import Table
from imbik.data.formats.text import bare_suffix
from imbik.data.sources import tables_of
from imbik.errors import UserError
from imbik.jobs.fingerprints import content_of
from imbik.jobs.paths import with_home
from imbik.types import Examples, Say

TEXT_FORMATS = (".txt", ".text", ".raw", ".tokens")
"""Suffixes of plain text that are read from a folder; a file that is named itself may have any."""

_LONGEST = 1 << 16  # characters; a longer document goes on in pieces, so that no file is ever held whole


@dataclass(frozen=True)
class Documents:
    """A source of documents.

    Attributes:
        source: its name, for messages.
        key: what it depends on (the files' contents, the column), JSON-able.
        bytes: size of its files; 0 where it is not known (the hub).
        stream: gives all documents in their order, the same ones every time it is called.
    """

    source: str
    key: list[Any]
    bytes: int
    stream: Callable[[], Iterator[str]]


def open_documents(source: str | Path, *, text: str | None = None, encoding: str | None = None, say: Say = lambda _: None) -> Documents:
    """Open the documents of a text file, a table file, a folder of either (at any depth), or a hub data set's train split.

    In plain text an empty line ends a document, and the lines between are joined; in a file without empty lines every line is one.
    In a table every row is one.

    Args:
        source: file, folder or hub name.
        text: the column, where a table has several.
        encoding: of the files, where it is neither UTF-8 nor marked UTF-16.
        say: takes one line for the user.

    Raises:
        UserError: nothing there, nothing that is text, no column.

    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp()) / "two.txt"
    >>> _ = place.write_text("A first\\ndocument.\\n\\nA second one.\\n")
    >>> list(open_documents(place).stream())
    ['A first document.', 'A second one.']
    """
    path = with_home(source)
    if path.is_file():
        files = [path]
    elif path.is_dir() and not any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        files = _files(path)
    elif bare_suffix(path) in (*TEXT_FORMATS, *FORMATS) or str(source).endswith(("/", "\\")):
        raise UserError("no such file or folder", where=source, expected="raw text: a file, a folder or a hub name", fix="check the path")
    else:
        return open_split(source, text=text, encoding=encoding, say=say)
    # opened before anything streams: a wrong column is reported now and not hours into a run
    streams = [_of_file(file, text, encoding, say) for file in files]

    def stream() -> Iterator[str]:
        for one in streams:
            yield from one()

    key = [content_of(files, path if path.is_dir() else path.parent), text, encoding]
    return Documents(str(source), key, sum(file.stat().st_size for file in files), stream)


def documents_of(parts: Sequence[Examples]) -> Documents:
    """Return the texts of a task as documents, a pair as two of them.

    Args:
        parts: rows, for example train and the unlabelled ones.
    """

    def stream() -> Iterator[str]:
        for rows in parts:
            for pair in zip(rows.texts, rows.pairs, strict=True) if rows.pairs is not None else zip(rows.texts, strict=True):
                yield from pair

    return Documents("the task's texts", [rows.fingerprint for rows in parts], 0, stream)


def _files(folder: Path) -> list[Path]:
    known = (*TEXT_FORMATS, *FORMATS)
    files = sorted(p for p in folder.rglob("*") if bare_suffix(p) in known and p.is_file() and not p.name.startswith("."))
    if not files:
        raise UserError(
            "no text in the folder",
            where=folder,
            found=", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "an empty folder",
            expected="files of raw text (" + ", ".join(known) + ")",
        )
    return files


def _of_file(path: Path, text: str | None, encoding: str | None, say: Say) -> Callable[[], Iterator[str]]:
    if bare_suffix(path) in FORMATS:
        return _rows(open_table(path, encoding, say), ColumnNames(text), say)
    table = read_lines(path, encoding)
    separated = _has_empty_lines(table)
    return lambda: _paragraphs(table) if separated else _lines(table)


def _rows(table: Table, names: ColumnNames, say: Say, *, joined: bool = True) -> Callable[[], Iterator[str]]:
    columns = choose(table.where, table.columns, say, names, labelled=False)
    wanted = [columns.text, *([columns.pair] if columns.pair else [])]

    def stream() -> Iterator[str]:
        for chunk in table.stream(wanted):
            for values in zip(*(chunk.columns[name] for name in wanted), strict=True):
                texts = [str(value) for value in values if value is not None]
                for document in ["\n".join(texts)] if joined else texts:
                    yield from _pieces(document)

    return stream


def _has_empty_lines(table: Table) -> bool:
    """Return whether empty lines part the documents, judged by the first lines (those at the start or end of the file do not count)."""
    first = next(iter(table.stream(("text",))), None)
    lines = "\n".join(line.strip() for line in first.columns["text"]) if first else ""
    return "\n\n" in lines.strip()


def _lines(table: Table) -> Iterator[str]:
    for chunk in table.stream(("text",)):
        for line in chunk.columns["text"]:
            yield from _pieces(line)


def _paragraphs(table: Table) -> Iterator[str]:
    lines: list[str] = []
    size = 0
    for chunk in table.stream(("text",)):
        for line in chunk.columns["text"]:
            line = line.strip()
            if line:
                lines.append(line)
                size += len(line)
            if lines and (not line or size > _LONGEST):
                yield from _pieces(" ".join(lines))
                lines = []
                size = 0
    if lines:
        yield from _pieces(" ".join(lines))


def _pieces(document: str) -> Iterator[str]:
    document = document.strip()
    for start in range(0, len(document), _LONGEST):
        yield document[start : start + _LONGEST]


def open_split(
    source: str | Path,
    *,
    text: str | None = None,
    pair: str | None = None,
    encoding: str | None = None,
    joined: bool = True,
    say: Say = lambda _: None,
) -> Documents:
    """Open the texts of labelled data, of which only the train split is read: a file, a folder with train, dev and test files, or a hub
    name.

    Args:
        source: as ``--data`` takes it.
        text, pair: the columns; guessed and said where not given.
        encoding: of the files, where it is neither UTF-8 nor marked UTF-16.
        joined: a row of two texts is one document; False: two.
        say: takes one line for the user.

    Raises:
        UserError: nothing there, no train split, no column.
    """
    splits = tables_of(source, encoding, say)
    tables: Sequence[Table] = splits.get("train") or next(iter(splits.values()))
    streams = [_rows(table, ColumnNames(text, pair), say, joined=joined) for table in tables]

    def stream() -> Iterator[str]:
        for one in streams:
            yield from one()

    files = [Path(table.where) for table in tables if Path(table.where).is_file()]
    key = [content_of(files, files[0].parent) if files else str(source), [table.where for table in tables], text, pair]
    return Documents(str(source), key, sum(file.stat().st_size for file in files), stream)
