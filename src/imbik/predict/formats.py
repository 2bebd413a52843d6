"""How answers stand in files: CSV, JSON lines and Parquet, as parts that are put together without being read as tables again."""

from __future__ import annotations

import csv
import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, TypeAlias

from imbik.errors import MissingExtra
from imbik.predict.answering import Answers

Header: TypeAlias = int
"""Bytes at the beginning of a part that the next parts of one file leave out."""

_EXACT = "value"  # of a regression: all digits; probabilities have six
_HEADS = ({"value"}, {"label", "probability"}, {"answer", "score"}, {"vector"}, {"similarity"})
"""Columns that a CSV file of ours has beside the texts."""
_MARK = {b"imbik": b"answers"}


class Format(ABC):
    """A kind of file of answers."""

    suffix: ClassVar[str]

    @abstractmethod
    def write(self, answers: Answers, path: Path) -> Header:
        """Write the answers of a part."""

    @abstractmethod
    def join(self, parts: Sequence[tuple[Path, Header]], out: Path) -> None:
        """Write one file of all parts."""

    @abstractmethod
    def ours(self, path: Path) -> bool:
        """Return whether a file looks like one that this class wrote."""


class _Bytes(Format):
    """A format whose parts can stand one behind the other."""

    def join(self, parts: Sequence[tuple[Path, Header]], out: Path) -> None:
        """Write one file of all parts."""
        with out.open("wb") as whole:
            for number, (path, header) in enumerate(parts):
                append(path, header if number else 0, whole)


def append(path: Path, skip: int, to: BinaryIO) -> None:
    """Copy a file from its byte ``skip`` on to the end of another."""
    with path.open("rb") as part:
        part.seek(skip)
        shutil.copyfileobj(part, to, 1 << 20)


class Csv(_Bytes):
    """``text`` (``image``), ``pair`` where there are pairs, columns that are handed on, then what the task says."""

    suffix = ".csv"

    def write(self, answers: Answers, path: Path) -> Header:
        """Write a header and the rows."""
        columns = answers.columns()
        names = list(columns)
        shown = [_numbers(name, cells) for name, cells in columns.items()]
        with path.open("w", encoding="utf-8", newline="") as file:
            plain = csv.writer(file, lineterminator="\n")
            plain.writerow(names)
            file.flush()
            header = file.tell()
            # a carriage return ends a row for many readers, and is not quoted where lines end otherwise
            quoting, start = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL), 0
            for row in sorted({row for cells in shown for row in _returns(cells)}):
                plain.writerows(zip(*(cells[start:row] for cells in shown), strict=True))
                quoting.writerow([cells[row] for cells in shown])
                start = row + 1
            plain.writerows(zip(*(cells[start:] for cells in shown), strict=True))
        return header

    def ours(self, path: Path) -> bool:
        """Return whether the header is one of ours."""
        with path.open(encoding="utf-8") as file:
            head = next(csv.reader(file), [])
        return head[:1] in (["text"], ["image"]) and any(named <= set(head) for named in _HEADS)


def _returns(cells: Sequence[Any]) -> list[int]:
    """Return the rows of a column in which a carriage return stands."""
    try:
        # nearly always there is none, which one pass over all of them shows
        if "\r" not in "".join(cells):
            return []
    except TypeError:  # numbers
        pass
    return [row for row, cell in enumerate(cells) if isinstance(cell, str) and "\r" in cell]


def _numbers(name: str, cells: Sequence[Any]) -> Sequence[Any]:
    """Return cells as CSV shows them."""
    if name == _EXACT or not any(isinstance(cell, float) for cell in cells):
        return cells
    return [f"{cell:.6f}" if isinstance(cell, float) else cell for cell in cells]


class JsonLines(_Bytes):
    """One object a text and line, as ``imbik predict --json`` shows it."""

    suffix = ".jsonl"

    def write(self, answers: Answers, path: Path) -> Header:
        """Write the objects."""
        with path.open("w", encoding="utf-8", newline="") as file:
            file.writelines(json.dumps(item, ensure_ascii=False) + "\n" for item in answers.objects())
        return 0

    def ours(self, path: Path) -> bool:
        """Return whether the first line is one of ours."""
        with path.open(encoding="utf-8") as file:
            first = json.loads(file.readline())
        return ("text" in first or "image" in first) and any(
            name in first for name in ("labels", "value", "entities", "answer", "vector", "similarity")
        )


class Parquet(Format):
    """The columns of :class:`Csv` with types: texts, whole numbers, float32; empty cells are null."""

    suffix = ".parquet"

    def write(self, answers: Answers, path: Path) -> Header:
        """Write a table of one row group."""
        pyarrow, parquet = _pyarrow()
        # stated and not inferred: a part in which a column has no value would give it another type
        kinds = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float32(), list: pyarrow.list_(pyarrow.float32())}
        columns = answers.columns()
        types = answers.types(columns)
        arrays = [pyarrow.array(_nulls(cells, types[name]), kinds[types[name]]) for name, cells in columns.items()]
        fields = [pyarrow.field(name, array.type) for name, array in zip(columns, arrays, strict=True)]
        parquet.write_table(pyarrow.Table.from_arrays(arrays, schema=pyarrow.schema(fields, _MARK)), path)
        return 0

    def join(self, parts: Sequence[tuple[Path, Header]], out: Path) -> None:
        """Write one file, a row group a part."""
        _, parquet = _pyarrow()
        # part by part: the whole is never in memory
        with parquet.ParquetWriter(out, parquet.read_schema(parts[0][0])) as writer:
            for path, _ in parts:
                writer.write_table(parquet.read_table(path))

    def ours(self, path: Path) -> bool:
        """Return whether the file carries our mark."""
        _, parquet = _pyarrow()
        metadata: Mapping[bytes, bytes] = parquet.read_schema(path).metadata or {}
        return all(metadata.get(name) == value for name, value in _MARK.items())


def _nulls(cells: Sequence[Any], kind: type) -> Sequence[Any]:
    """Return cells with None in the place of the empty ones of a column of numbers."""
    return cells if kind is str else [None if cell == "" else cell for cell in cells]


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise MissingExtra("pyarrow") from error
    return pyarrow, parquet


FORMATS: Mapping[str, Format] = {"csv": Csv(), "jsonl": JsonLines(), "parquet": Parquet()}
"""By the name that ``--format`` takes."""
