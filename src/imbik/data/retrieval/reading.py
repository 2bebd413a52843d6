"""A folder of queries, documents and judgments, as BEIR lays it out: ``queries.jsonl``, ``corpus.jsonl``, ``qrels/SPLIT.tsv``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imbik.data.formats.csv import check_file, open_table
from imbik.data.formats.text import decoding_error, encoding_of, open_text
from imbik.data.sources import assign_splits
from imbik.data.text_store import TextStore, TextWriter
from imbik.errors import UserError, shorten
from imbik.jobs.paths import with_home

CORPUS, QUERIES, JUDGMENTS = "corpus", "queries", "qrels"
_SUFFIXES = (".jsonl", ".jsonl.gz")
_HEAD = "query-id<TAB>corpus-id<TAB>score"

Grades = Mapping[int, Mapping[int, int]]
"""Number of a query -> number of a document -> how well it answers, above 0."""


@dataclass(frozen=True)
class Retrieval:
    """What such a folder holds. Queries and documents are numbered in the order of their files.

    Attributes:
        folder: it.
        queries, documents: their texts; a document's title stands before its text.
        copies: number of a query -> number of the document that is this query, by id and text.
        judged: split (``train``, ``dev``, ``test``, or ``all`` of one file without a split's name) -> what answers each of its queries.
    """

    folder: Path
    queries: TextStore
    documents: TextStore
    copies: Mapping[int, int]
    judged: Mapping[str, Grades]


def is_retrieval(source: str | Path) -> bool:
    """Return whether a data source is a folder of queries and documents."""
    folder = with_home(source)
    return folder.is_dir() and all(_file(folder, name) is not None for name in (CORPUS, QUERIES))


def read_retrieval(source: str | Path, encoding: str | None = None) -> Retrieval:
    """Read such a folder.

    Args:
        source: a folder for which :func:`is_retrieval` holds.
        encoding: of its files, where it is neither UTF-8 nor marked UTF-16.

    Raises:
        UserError: a row without id or text, duplicate id, a judgment of what is not there, no judgments; with file and row.
    """
    folder = with_home(source)
    documents, document_ids = _texts(folder, CORPUS, encoding)
    queries, query_ids = _texts(folder, QUERIES, encoding)
    judged = {split: _judgments(path, query_ids, document_ids, encoding) for split, path in _judgment_files(folder).items()}
    both = {number: document_ids[name] for name, number in query_ids.items() if name in document_ids}
    copies = {query: document for query, document in both.items() if queries[query].strip() == documents[document].strip()}
    return Retrieval(folder, queries, documents, copies, judged)


def _file(folder: Path, name: str) -> Path | None:
    return next((path for suffix in _SUFFIXES if (path := folder / f"{name}{suffix}").is_file()), None)


def _texts(folder: Path, name: str, encoding: str | None) -> tuple[TextStore, dict[str, int]]:
    """Return the texts of a file, and the number of each id."""
    path = _file(folder, name)
    assert path is not None, "is_retrieval has seen it"
    table = open_table(path, encoding)
    key = next((column for column in ("_id", "id") if column in table.columns), None)
    if key is None or "text" not in table.columns:
        raise UserError(
            "a field is missing",
            where=table.at(1),
            found=", ".join(table.columns),
            expected="_id and text" + (", and a title if there is one" if name == CORPUS else ""),
            fix="give every line these fields",
        )
    wanted = [key, "text", *(["title"] if "title" in table.columns else [])]
    writer, numbers = TextWriter(), dict[str, int]()
    for chunk in table.stream(wanted):
        rows = zip(*(chunk.columns[column] for column in wanted), strict=True)
        texts = []
        for row, cells in zip(chunk.rows.tolist(), rows, strict=True):
            identifier, text, *title = cells
            _add(identifier, numbers, f"{table.at(row)}, field {key!r}")
            texts.append(_text(text, title[0] if title else None, f"{table.at(row)}, field 'text'"))
        writer.add(texts)
    return writer.close(), numbers


def _add(identifier: Any, numbers: dict[str, int], where: str) -> None:
    """Number an id.

    Raises:
        UserError: it is none, or it stood before.
    """
    if isinstance(identifier, bool) or not isinstance(identifier, (str, int)) or identifier == "":
        raise UserError("no id", where=where, found=shorten(repr(identifier)), expected="a text or a whole number")
    name = str(identifier)
    if name in numbers:
        raise UserError("duplicate id", where=where, found=shorten(name), expected="an id of its own for every line")
    numbers[name] = len(numbers)


def _text(text: Any, title: Any, where: str) -> str:
    """Return a text with its title before it.

    Raises:
        UserError: it is no text, or none that can be written.
    """
    if not isinstance(text, str) or not isinstance(title, (str, type(None))):
        raise UserError(
            "not a text", where=where, found=shorten(repr(text if isinstance(title, (str, type(None))) else title)), expected="a text"
        )
    whole = f"{title} {text}".strip() if title else text
    try:
        whole.encode()
    except UnicodeEncodeError as error:
        problem = "an unpaired surrogate in the text (broken \\u escape)"
        raise UserError(problem, where=where, found=shorten(repr(whole)), expected="a text", fix="fix or remove the line") from error
    if "\x00" in whole:
        raise UserError("a zero byte in the text", where=where, found=shorten(whole), expected="a text", fix="fix or remove the line")
    return whole


def _judgment_files(folder: Path) -> dict[str, Path]:
    """Return the file of each split's judgments.

    Raises:
        UserError: there is none, or several could be one split's.
    """
    inside = folder / JUDGMENTS
    files = sorted(inside.glob("*.tsv")) if inside.is_dir() else [path for path in (folder / f"{JUDGMENTS}.tsv",) if path.is_file()]
    for path in files:
        check_file(path)
    if len(files) == 1 and not assign_splits(files):
        return {"all": files[0]}
    splits = assign_splits(files)
    several = [paths for paths in splits.values() if len(paths) > 1]
    if several:
        raise UserError(
            "several files of judgments could be one split's",
            where=inside,
            found=", ".join(path.name for path in several[0]),
            fix="keep one of them",
        )
    if not splits:
        raise UserError(
            "queries and documents without judgments",
            where=folder,
            found=", ".join(sorted(path.name for path in folder.iterdir())[:8]),
            expected="qrels/train.tsv, qrels/dev.tsv, qrels/test.tsv, or one qrels.tsv",
            fix=f"say which document answers which query: lines of {_HEAD}",
        )
    return {name: paths[0] for name, paths in splits.items()}


def _judgments(path: Path, queries: Mapping[str, int], documents: Mapping[str, int], encoding: str | None) -> dict[int, dict[int, int]]:
    """Return what a file says: only grades above 0; a query without any is left out.

    Raises:
        UserError: a line that cannot be read, an unknown id, a pair that was judged before, or no answer at all.
    """
    found: dict[int, dict[int, int]] = {}
    seen = set()
    for row, cells in _lines(path, encoding):
        where = f"{path}, row {row}"
        query, document = (
            _known(cell, ids, name, where) for cell, ids, name in zip(cells, (queries, documents), (QUERIES, CORPUS), strict=False)
        )
        if (query, document) in seen:
            raise UserError("duplicate judgment", where=where, found=f"{cells[0]}, {cells[1]}", fix="keep one of the lines")
        seen.add((query, document))
        grade = _grade(cells[2], where)
        if grade > 0:
            found.setdefault(query, {})[document] = grade
    if not found:
        raise UserError(
            "no query has an answer",
            where=path,
            found=f"{len(seen)} judgments, none above 0",
            expected="scores above 0 of the documents that answer",
        )
    return found


def _lines(path: Path, encoding: str | None) -> Iterator[tuple[int, list[str]]]:
    """Yield row numbers and the three cells of each line; the head is left out, and the second of TREC's four columns."""
    form = encoding_of(path, encoding)
    with open_text(path, form) as file:
        try:
            for row, line in enumerate(file, 1):
                cells = line.split("\t") if "\t" in line else line.split()
                cells = [cell.strip() for cell in cells]
                if not any(cells) or (row == 1 and cells[-1].lower() in ("score", "relevance", "rel", "label", "grade")):
                    continue
                if len(cells) not in (3, 4) or not all(cells):
                    raise UserError(
                        "not a judgment",
                        where=f"{path}, row {row}",
                        found=shorten(line.rstrip()),
                        expected=_HEAD,
                        fix="fix or remove the line",
                    )
                yield row, [cells[0], *cells[-2:]]
        except UnicodeError as error:
            raise decoding_error(path, form) from error


def _known(cell: str, ids: Mapping[str, int], name: str, where: str) -> int:
    if cell not in ids:
        raise UserError(
            "a judgment of an id that is not there",
            where=where,
            found=shorten(cell),
            expected=f"an _id of {name}.jsonl",
            fix="remove the line, or add what is missing",
        )
    return ids[cell]


def _grade(cell: str, where: str) -> int:
    grade = int(cell) if re.fullmatch(r"[-+]?[0-9]{1,9}", cell) else None
    if grade is None:
        raise UserError(
            "a score that is no whole number", where=where, found=shorten(cell), expected="0, 1, 2, …; above 0: the document answers"
        )
    return grade
