"""Files, folders and patterns as one stream of rows."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from imbik.data.columns import ColumnNames, Columns, choose, must_have
from imbik.data.formats.csv import FORMATS, check_file, open_table, read_lines
from imbik.data.formats.table import Chunk, Table
from imbik.data.formats.text import bare_suffix, open_bytes
from imbik.data.rows import stream_texts
from imbik.errors import UserError
from imbik.images.decode import SUFFIXES
from imbik.images.named import NamedImages
from imbik.jobs.paths import with_home
from imbik.tasks.label_cells import as_cell
from imbik.tasks.task import Task
from imbik.types import Say

_LINES = ".txt"
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Rows:
    """Some rows that follow each other.

    Attributes:
        texts: N texts; of images what readers are shown of each.
        pairs: their second texts.
        kept: columns that are handed on, as texts.
        images: N images, where the rows are images.
    """

    texts: list[str]
    pairs: list[str] | None = None
    kept: dict[str, list[str]] = field(default_factory=dict)
    images: NamedImages | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def __add__(self, other: Rows) -> Rows:
        pairs = None if self.pairs is None or other.pairs is None else self.pairs + other.pairs
        images = None if self.images is None or other.images is None else self.images + other.images
        kept = {name: cells + other.kept[name] for name, cells in self.kept.items()}
        return Rows(self.texts + other.texts, pairs, kept, images)

    def between(self, start: int, stop: int) -> Rows:
        """Return the rows from ``start`` up to ``stop``."""
        pairs = None if self.pairs is None else self.pairs[start:stop]
        images = None if self.images is None else self.images[start:stop]
        return Rows(self.texts[start:stop], pairs, {name: cells[start:stop] for name, cells in self.kept.items()}, images)

    def loaded(self) -> Rows:
        """Return the rows without paths of images: the bytes of those files stand in their place."""
        return self if self.images is None else replace(self, images=self.images.loaded())

    def images_at(self, rows: Sequence[int]) -> Rows:
        """Return some rows that are images, in that order."""
        assert self.images is not None
        kept = {name: [cells[row] for row in rows] for name, cells in self.kept.items()}
        return Rows([self.texts[row] for row in rows], None, kept, self.images.take(rows))


def find_inputs(sources: Sequence[str | Path], but: Path | None = None, *, images: bool = False) -> list[Path]:
    """Return the files that names, folders (with all that lies below them) and patterns such as ``logs/*.csv`` stand for.

    Args:
        sources: in their order; the files of one are sorted by their paths. A file counts once.
        but: the output, which may lie among them.
        images: whether images are looked for in folders, before tables that hold some.

    Raises:
        UserError: something stands for no file.
    """
    found = dict.fromkeys(path for source in sources for path in _files(str(source), images))
    out = None if but is None else but.resolve()
    kept = [path for path in found if out is None or (path.resolve() != out and out not in path.resolve().parents)]
    if not kept:
        raise UserError(
            "the files to answer lie in the folder of the answers",
            where="--out",
            found=but,
            expected="a file, or a folder that holds nothing else",
            fix="choose another --out",
        )
    return kept


def _files(source: str, images: bool) -> list[Path]:
    path = with_home(source)
    if path.is_dir():
        return _below(path, images)
    # a file may really be called like a pattern
    if not path.exists() and glob.has_magic(source):
        matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
        # a pattern that meets folders means what is in them
        files = [file for match in matches for file in (_below(match, images) if match.is_dir() else [match])]
        if not files:
            raise UserError("no file is called like this", where=source, expected="a file, a folder or a pattern", fix="check the path")
        return files
    check_file(path)
    return [path]


def _below(folder: Path, images: bool) -> list[Path]:
    """Return the images (where they are wanted) below a folder, else its data files, else its text files.

    Names that begin with a dot or an underscore are somebody's marks.
    """
    parts = ((file, file.relative_to(folder).parts) for file in sorted(folder.rglob("*")))
    files = [file for file, names in parts if file.is_file() and not any(name.startswith((".", "_")) for name in names)]
    wanted = (*((SUFFIXES,) if images else ()), FORMATS, (_LINES,))
    for known in wanted:
        chosen = [file for file in files if bare_suffix(file) in known]
        if chosen:
            return chosen
    suffixes = ", ".join(suffix for known in wanted for suffix in known)
    raise UserError("no data file in the folder", where=folder, expected=f"files of {suffixes}")


def stream_rows(files: Sequence[Path], names: ColumnNames, keep: Sequence[str], say: Say) -> Iterator[Rows]:
    """Yield the rows of some files, a few thousand at a time; a text that is not there is empty, so that every row has its answer.

    Args:
        files: all with the same columns.
        names: which columns hold texts; guessed of the first file (and said) where not given.
        keep: further columns.
        say: takes one line for the user.

    Raises:
        UserError: a column or a text is missing, or is none (file, row, column); every text is empty.
    """
    columns: Columns | None = None
    full = some = False
    for path in files:
        table, columns = open_with(path, columns, names, keep, say)
        for chunk, texts, pairs in stream_texts(table, columns, also=keep):
            cells = handed_on(table, chunk, keep)
            some = some or bool(texts)
            full = full or any(text and not text.isspace() for text in texts)
            yield Rows(list(texts), None if pairs is None else list(pairs), cells)
    if columns is not None and not some:
        raise UserError("no rows", where=files[0], found="only a header", expected="a header and rows")
    if columns is not None and not full:
        raise UserError("every text is empty", where=f"{files[0]}, column {columns.text!r}", fix="name the text column with --text")


def open_with(
    path: Path, columns: Columns | None, names: ColumnNames, keep: Sequence[str], say: Say, task: Task | None = None
) -> tuple[Table, Columns]:
    """Return the table of a file, and its columns: those of the files before it, else those that are named or guessed.

    Raises:
        UserError: a column is missing.
    """
    table = read_lines(path, names.encoding) if bare_suffix(path) == _LINES else open_table(path, names.encoding, say)
    columns = columns or _columns(table, names, say, task)
    for option, name in (("--text", columns.text), ("--text-pair", columns.pair), *(("--keep", name) for name in keep)):
        if name is not None:
            must_have(table.where, table.columns, name, option)
    return table, columns


def handed_on(table: Table, chunk: Chunk, keep: Sequence[str]) -> dict[str, list[str]]:
    """Return the cells of further columns, as texts."""
    return {name: list(map(partial(as_cell, names=table.names.get(name)), chunk.columns[name])) for name in keep}


def _columns(table: Table, names: ColumnNames, say: Say, task: Task | None) -> Columns:
    if names.text is None and len(table.columns) == 1:
        names = ColumnNames(table.columns[0], names.text_pair)  # there is only one: nothing is guessed
    return choose(table.where, table.columns, say, names, labelled=False, task=task)


def count_rows(files: Sequence[Path], encoding: str | None = None) -> int:
    """Return about how many rows there are, for progress: exact but for texts that go over several lines."""
    return sum(_count(path, encoding) for path in files)


def _count(path: Path, encoding: str | None) -> int:
    suffix = bare_suffix(path)
    if suffix in SUFFIXES:
        return 1
    if suffix == ".parquet":
        from pyarrow import parquet

        return int(parquet.ParquetFile(path).metadata.num_rows)
    if suffix == ".json":  # an array is read whole in any case
        table = open_table(path, encoding)
        return sum(len(chunk.rows) for chunk in table.stream(table.columns[:1]))
    lines, last = 0, b"\n"
    with open_bytes(path) as file:
        while block := file.read(_BLOCK):
            lines += block.count(b"\n")
            last = block
    # a last line without an end is one too
    lines += not last.endswith(b"\n")
    return lines - (suffix in (".csv", ".tsv"))


def stream_given(texts: Sequence[str], pairs: Sequence[str] | None) -> Iterator[Rows]:
    """Yield texts that were given in the place of files."""
    yield Rows(list(texts), None if pairs is None else list(pairs))


__all__ = ["Rows", "count_rows", "find_inputs", "handed_on", "open_with", "stream_given", "stream_rows"]
