"""Files, folders and hub data sets become :class:`~imbik.types.Splits`.

Rows stream through; only targets and one number per row stay in memory.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np

from imbik.data.columns import ColumnNames, Columns, Names, TextNames, choose, named_like_a_label
from imbik.data.evaluation import Evaluation, load_evaluation
from imbik.data.formats.csv import open_table, read_lines
from imbik.data.formats.table import Table
from imbik.data.formats.text import bare_suffix
from imbik.data.kinds.reading import read_split, reads_images, refuse_unlabelled
from imbik.data.label_column import settle_nan
from imbik.data.parts import Part, Reading, complete, leave_out_unlabelled, note_oddities
from imbik.data.retrieval.reading import is_retrieval
from imbik.data.retrieval.splits import rankings_to_learn
from imbik.data.rows import Rows, combined, examples, read_rows, same_columns
from imbik.data.sources import ALL, tables_of
from imbik.data.splitting import shared
from imbik.errors import UserError
from imbik.jobs.paths import with_home
from imbik.tasks.outputs import Array
from imbik.tasks.registry import guess_task, registered, task_of
from imbik.tasks.task import Task
from imbik.types import Examples, Note, Say, Splits

logger = logging.getLogger(__name__)


def load_data(
    source: str | Path,
    columns: ColumnNames | None = None,
    *,
    task: str | None = None,
    metric: str | None = None,
    labels: Sequence[str] | None = None,
    unlabelled: str | Path | None = None,
    seed: int = 0,
    skip_broken: bool = False,
    say: Say = logger.info,
    **names: Unpack[Names],
) -> Splits:
    """Read a task's data.

    Args:
        source: a CSV, TSV, JSON lines, JSON or Parquet file; a folder with train, dev (or validation) and test files, or with
            queries, documents and judgments (:mod:`imbik.data.retrieval.reading`); or a hub name (``owner/name``,
            ``name:configuration``). Of images a folder with one for each class, or such folders in train, dev and test.
        columns: column names and encoding; guessed (and said) where not given. Its fields may be given as keyword arguments
            instead: ``text``, ``text_pair``, ``label`` (several behind commas: multi-label), ``encoding``.
        task: a registered task's name; guessed from the labels where not given.
        metric: one of the task's; its default where not given.
        labels: the label names in order (a teacher's); the data must have exactly these.
        unlabelled: a file of further texts for distillation.
        seed: of the rows that are split off.
        skip_broken: leave out images that cannot be read, and count them, instead of refusing the data.
        say: takes each guess and note as one line for the user.

    Returns:
        Splits whose ``train``, ``dev`` and ``test`` all carry targets. Without dev, a tenth of train (stratified, at most
        2,000 rows) becomes dev; without labelled test, the labelled dev is reported on and another dev is split off; a
        single file gives all three. No text stands on both sides of a cut.

    Raises:
        UserError: anything in the data that is not as it should be, with file, row and column.
    """
    columns = columns or ColumnNames(**names)
    reading = Reading(say)
    # queries and documents are known by the names of their files, and need no columns
    asked = _Asked(source, columns, task, labels, unlabelled, seed, skip_broken)
    found = _read_rankings(asked, reading) if is_retrieval(source) else _read_rows(asked, reading)
    train, dev, test = (found.parts[name] for name in ("train", "dev", "test"))
    return Splits(
        train=train,
        dev=dev,
        test=test,
        task=found.task.name,
        labels=found.labels,
        metric=found.task.metric_of(np.asarray(test.targets), metric).name,
        source=str(source),
        fingerprint=combined(train, dev, test, found.unlabelled),
        notes=reading.finish(),
        unlabelled=found.unlabelled,
    )


@dataclass(frozen=True)
class _Asked:
    """What a data source is read by; see :func:`load_data`."""

    source: str | Path
    columns: ColumnNames
    task: str | None
    labels: Sequence[str] | None
    unlabelled: str | Path | None
    seed: int
    skip_broken: bool


@dataclass(frozen=True)
class _Read:
    """What a data source holds."""

    task: Task
    labels: tuple[str, ...]
    parts: Mapping[str, Examples]
    unlabelled: Examples | None


def _read_rankings(asked: _Asked, reading: Reading) -> _Read:
    """Read queries and documents; their files say what each column is."""
    found = rankings_to_learn(asked.source, asked.task, asked.columns.encoding, asked.seed)
    for note in found.notes:
        reading.note(note)
    extra = None if asked.unlabelled is None else load_texts(asked.unlabelled, asked.columns, say=reading.say)
    return _Read(found.task, tuple(asked.labels or ("relevance",)), found.parts, extra)


def _read_rows(asked: _Asked, reading: Reading) -> _Read:
    """Read tables whose rows have a label each."""
    say, columns = reading.say, asked.columns
    kind = None if asked.task is None else task_of(asked.task)
    refuse_unlabelled(kind, asked.unlabelled)
    tables = tables_of(asked.source, columns.encoding, say, images=reads_images(kind))
    main = _main_split(tables, asked.source)
    head = tables[main][0]
    # a column's name may say the task; what its cells say is asked once they are read
    kind = kind or (None if columns.label else _task_by_column(head.columns, say))
    chosen = choose(head.where, head.columns, say, columns, task=kind)
    rows = _read_splits(tables, main, chosen, asked.labels, kind, skip_broken=asked.skip_broken)
    kind = kind or _guess(rows[main], asked.labels, columns.label, say)
    leave_out_unlabelled(rows, main, reading)
    targets, label_names = kind.read_targets(rows, asked.labels, reading.note)
    parts = {"train" if name == main else name: _part(split, targets[name], kind) for name, split in rows.items()}
    note_oddities(parts, rows, kind, reading)
    complete(parts, kind, asked.seed, head.where, reading, single_file=main == ALL)
    extra = None if asked.unlabelled is None else _read_unlabelled(asked.unlabelled, kind, chosen, columns.encoding, parts["test"], reading)
    return _Read(kind, label_names, {name: part.examples for name, part in parts.items()}, extra)


def load_texts(path: str | Path, columns: ColumnNames | None = None, *, say: Say = logger.info, **names: Unpack[TextNames]) -> Examples:
    """Read texts without labels: a ``.txt`` file (one line, one text) or the text column of a data file; targets are None.

    Args:
        path: the file.
        columns: see :func:`load_data`.
        say: takes one line for the user.

    Raises:
        UserError: see :func:`load_data`.
    """
    rows = _read_texts(path, columns or ColumnNames(**names), say)
    return examples(rows.texts, rows.pairs, None)


def _main_split(tables: dict[str, list[Table]], source: str | Path) -> str:
    """Return the split that is learned from."""
    if ALL in tables:
        return ALL
    if "train" not in tables:
        raise UserError("no train split", where=source, found=", ".join(sorted(tables)), expected="a train file", fix="add train.csv")
    return "train"


def _read_splits(
    tables: dict[str, list[Table]], main: str, columns: Columns, labels: Sequence[str] | None, task: Task | None, *, skip_broken: bool
) -> dict[str, Rows]:
    """Return the splits, train first: its labels are the ones that count."""
    order = [main, *(name for name in ("dev", "test") if name in tables)]
    splits = {}
    for name in order:
        for table in tables[name]:
            fitting = same_columns(columns, table, labelled=name == main)
        splits[name] = read_split(task, tables[name], fitting, skip_broken=skip_broken)
    if splits[main].unlabelled():
        raise UserError(
            "train has no labels",
            where=f"{splits[main].where}, column {columns.labels[0]!r}",
            found="nothing but empty cells",
            fix="name the label column with --label",
        )
    settle_nan([split.labels for split in splits.values()], labels)
    return splits


def _part(rows: Rows, targets: Array, task: Task) -> Part:
    return Part(examples(rows.texts, rows.pairs, targets), rows.keys, task.together(rows))


def _check_guessed_label(rows: Rows, named: str | None) -> None:
    """Refuse a label column that nobody named and that numbers the rows."""
    for column in rows.labels:
        if named is None and column.counts_rows(steps=named_like_a_label(column.name)):
            raise UserError(
                "the only column that could be the label numbers the rows",
                where=f"{rows.where}, column {column.name!r}",
                found=", ".join(column.values[:3]) + ", ..." if column.numbers is None else "numbers that rise from row to row",
                expected="a column with the labels of the texts",
                fix=f"add one, or name it with --label (--label {column.name} if these numbers are what is asked)",
            )


def _task_by_column(columns: Sequence[str], say: Say) -> Task | None:
    """Return the task of two texts that alone reads a column of some name, where no column is called as labels are; None: there is none."""
    if any(map(named_like_a_label, columns)):
        return None
    for task in registered().values():
        own = [name for name in columns if task.pairs and task.label_names and name in task.label_names[0]]
        if own:
            say(f"task guessed from column {own[0]}: {task.name}")
            return task
    return None


def _guess(rows: Rows, labels: Sequence[str] | None, named: str | None, say: Say) -> Task:
    _check_guessed_label(rows, named)
    task = guess_task(rows.labels, labels)
    reason = task.reason(rows.labels, labels)
    say(f"task guessed from column {', '.join(column.name for column in rows.labels)}: {task.name}" + (f" ({reason})" if reason else ""))
    return task


def _read_texts(path: str | Path, names: ColumnNames, say: Say) -> Rows:
    file = with_home(path)
    lines = bare_suffix(file) == ".txt"
    table = read_lines(file, names.encoding) if lines else open_table(file, names.encoding, say)
    if lines and names.text is None:
        names = ColumnNames(table.columns[0], names.text_pair)  # there is only one: nothing is guessed
    return read_rows([table], choose(table.where, table.columns, say, names, labelled=False))


def _read_unlabelled(path: str | Path, task: Task, columns: Columns, encoding: str | None, test: Part, reading: Reading) -> Examples:
    """Return the user's own texts, with the columns of the task where the file has them."""
    file = with_home(path)
    present = () if bare_suffix(file) == ".txt" else open_table(file, encoding).columns
    text = columns.text if columns.text in present else None
    pair = columns.pair if columns.pair in present else None
    rows = _read_texts(file, ColumnNames(text, pair, encoding=encoding), reading.say)
    # a teacher answers either pairs or single texts, and would answer the other kind wrongly; where it reads texts apart both will do
    if not task.apart and (rows.pairs is None) != (columns.pair is None):
        raise UserError(
            "texts that do not fit the task",
            where=path,
            found="pairs of texts" if rows.pairs is not None else "single texts",
            expected="pairs of texts" if columns.pair else "single texts",
            fix="give a file with the same text columns as the data",
        )
    both = shared(test.keys, rows.keys)
    if both:
        reading.note(Note.of("in_test", count=both))
    return examples(rows.texts, rows.pairs, None)


__all__ = ["Evaluation", "load_data", "load_evaluation", "load_texts"]
