"""Tagged words: files of columns (CoNLL), and folders of parallel files (``seq.in``, ``seq.out``), as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from imbik.data.formats.table import CHUNK, Chunk, Table
from imbik.data.formats.text import decoding_error, encoding_of, open_text
from imbik.errors import UserError, shorten

COLUMN_FORMATS = (".conll", ".iob", ".iob2", ".bio", ".bioes")
"""Suffixes of files with a word and its tag a line."""

WORDS, TAGS = "tokens", "tags"
_PARALLEL = {"seq.in": "text", "seq.out": TAGS, "label": "intent"}
_START = "-DOCSTART-"


def open_columns(path: Path, encoding: str | None = None) -> Table:
    """Open a file with a word a line, its tag in the last column, and an empty line between texts.

    Columns are parted by tabs or by spaces; comments (``# …``) and ``-DOCSTART-`` lines are left out.

    Raises:
        UserError: a line with another number of columns than the others, or with one only.
    """
    form = encoding_of(path, encoding)

    def stream(wanted: Sequence[str]) -> Iterator[Chunk]:
        texts = _texts(path, form)
        while block := list(islice(texts, CHUNK)):
            columns = {WORDS: [words for _, words, _ in block], TAGS: [tags for _, _, tags in block]}
            yield Chunk({name: columns[name] for name in wanted}, np.array([row for row, _, _ in block], np.int64))

    return Table(str(path), (WORDS, TAGS), stream)


def looks_like_columns(path: Path, encoding: str | None = None) -> bool:
    """Return whether the first lines of a text file are words with tags behind them."""
    with open_text(path, encoding_of(path, encoding)) as file:
        try:
            lines = [line.split() for line in islice(file, 200) if line.strip() and not line.startswith(("#", _START))]
        except UnicodeError:
            return False
    # one width, and the last column is O somewhere: plain text has neither
    return bool(lines) and {len(line) for line in lines} == {len(lines[0])} and len(lines[0]) > 1 and any(line[-1] == "O" for line in lines)


def _texts(path: Path, encoding: str) -> Iterator[tuple[int, list[str], list[str]]]:
    """Yield the line on which each text begins, its words and its tags."""
    words: list[str] = []
    tags: list[str] = []
    first = width = 0
    with open_text(path, encoding) as file:
        try:
            for number, line in enumerate(file, 1):
                cells = _cells(line)
                if not cells or cells[0] == _START:
                    if words:
                        yield first, words, tags
                    words, tags = [], []
                    continue
                if line.startswith("#") and len(cells) != width:
                    continue
                width = width or len(cells)
                _check_width(path, number, line, cells, width)
                first = first if words else number
                words.append(cells[0])
                tags.append(cells[-1])
        except UnicodeError as error:
            raise decoding_error(path, encoding) from error
    if words:
        yield first, words, tags


def _cells(line: str) -> list[str]:
    line = line.rstrip("\r\n")
    return [cell.strip() for cell in line.split("\t")] if "\t" in line.strip() else line.split()


def _check_width(path: Path, number: int, line: str, cells: Sequence[str], width: int) -> None:
    if len(cells) < 2 or len(cells) != width or not all(cells):
        raise UserError(
            "a word without its tag" if len(cells) < 2 else "wrong number of columns",
            where=f"{path}, row {number}",
            found=shorten(line.rstrip("\r\n")),
            expected=f"{max(width, 2)} columns parted by tabs or spaces: the word first, its tag last; an empty line between texts",
            fix="fix or remove the line",
        )


def parallel_folders(folder: Path) -> dict[str, Path]:
    """Return the sub-folders that hold ``seq.in`` and ``seq.out``, by name; the folder itself where it holds them."""
    inside = [path for path in (folder, *sorted(folder.iterdir())) if (path / "seq.in").is_file() and (path / "seq.out").is_file()]
    return {path.name: path for path in inside}


def open_parallel(folder: Path, encoding: str | None = None) -> Table:
    """Open a folder with a text a line in ``seq.in``, its tags in ``seq.out``, and where it has ``label``, the whole text's class there.

    Raises:
        UserError: the files have different numbers of lines.
    """
    files = {name: folder / file for file, name in _PARALLEL.items() if (folder / file).is_file()}
    lines = {name: _lines(path, encoding) for name, path in files.items()}
    counts = {files[name].name: len(column) for name, column in lines.items()}
    if len(set(counts.values())) > 1:
        raise UserError(
            "parallel files with different numbers of lines",
            where=folder,
            found=", ".join(f"{name}: {count}" for name, count in counts.items()),
            expected="line N of each file belongs to the same text",
        )
    # words may stand apart by more than one space; their tags do not
    lines["text"] = [" ".join(line.split()) for line in lines["text"]]

    def stream(wanted: Sequence[str]) -> Iterator[Chunk]:
        for low in range(0, len(lines["text"]), CHUNK):
            part = {name: lines[name][low : low + CHUNK] for name in wanted}
            yield Chunk(part, np.arange(low + 1, low + 1 + len(part[wanted[0]])))

    return Table(str(folder / "seq.in"), tuple(files), stream)


def _lines(path: Path, encoding: str | None) -> list[str]:
    form = encoding_of(path, encoding)
    with open_text(path, form) as file:
        try:
            return [line.rstrip("\r\n") for line in file]
        except UnicodeError as error:
            raise decoding_error(path, form) from error
