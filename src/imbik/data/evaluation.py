"""Data to measure a finished artefact on: only the splits that are needed, in the artefact's own labels."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np

from imbik.data.columns import ColumnNames, Columns, Names, choose
from imbik.data.formats.table import Table
from imbik.data.kinds.reading import read_split, reads_images
from imbik.data.label_column import settle_nan
from imbik.data.parts import notes_on
from imbik.data.retrieval.reading import is_retrieval
from imbik.data.retrieval.splits import rankings_to_measure
from imbik.data.rows import Rows, combined, examples
from imbik.data.sources import ALL, tables_of
from imbik.errors import UserError
from imbik.locale.notes import sentence
from imbik.tasks.registry import task_of
from imbik.tasks.task import Task
from imbik.types import Examples, Note, Say, TaskName

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """What a finished artefact is measured on: ``test`` is reported, ``dev`` (if the data has one) stands beside it."""

    test: Examples
    dev: Examples | None
    task: TaskName
    labels: tuple[str, ...]
    metric: str
    source: str
    fingerprint: str
    notes: tuple[Note, ...] = ()


def load_evaluation(
    source: str | Path,
    columns: ColumnNames | None = None,
    *,
    labels: Sequence[str],
    task: TaskName,
    metric: str | None = None,
    skip_broken: bool = False,
    say: Say = logger.info,
    **names: Unpack[Names],
) -> Evaluation:
    """Read what to measure a finished artefact on: a folder's test and dev, or the whole of a single file.

    Train is read only where there is nothing else to measure on. The data may lack some of ``labels``.

    Args:
        source, columns: see :func:`imbik.data.load.load_data`.
        labels: the artefact's, in order.
        task: the artefact's.
        metric: one of the task's; its default where not given.
        skip_broken: see :func:`imbik.data.load.load_data`.
        say: takes one line for the user.

    Raises:
        UserError: see :func:`imbik.data.load.load_data`; no labelled split.
    """
    columns = columns or ColumnNames(**names)
    if is_retrieval(source):
        found = rankings_to_measure(source, task, columns.encoding)
        kind, parts, notes = found.task, [found.parts[name] for name in ("test", "dev") if name in found.parts], list(found.notes)
    else:
        kind = task_of(task)
        parts, notes = _rows(source, columns, kind, labels, say, skip_broken=skip_broken)
    for note in notes:
        say(sentence(note))
    return Evaluation(
        test=parts[0],
        dev=parts[1] if len(parts) > 1 else None,
        task=kind.name,
        labels=tuple(labels),
        metric=kind.metric_of(np.asarray(parts[0].targets), metric).name,
        source=str(source),
        fingerprint=combined(*parts),
        notes=tuple(notes),
    )


def _rows(
    source: str | Path, columns: ColumnNames, kind: Task, labels: Sequence[str], say: Say, *, skip_broken: bool
) -> tuple[list[Examples], list[Note]]:
    """Return the rows to measure on, and those of dev behind them where there are both; with notes."""
    tables = tables_of(source, columns.encoding, say, images=reads_images(kind))
    rows: dict[str, Rows] = {}
    for name in [name for name in (ALL, "test", "dev") if name in tables] or ["train"]:
        needed = name != "test" or "dev" not in tables
        split = read_split(kind, tables[name], _columns(tables[name][0], columns, kind, say, needed=needed), skip_broken=skip_broken)
        if not split.unlabelled([labels] * len(split.labels)):
            rows[name] = split
    if not rows:
        raise UserError("no labels to measure against", where=source, expected="a labelled test or dev split")
    first = next(iter(rows))
    notes = [] if first in (ALL, "test") else [Note.of("measured_on", split=first)]
    notes += [note for split in rows.values() for note in notes_on(split)]
    settle_nan([split.labels for split in rows.values()], labels)
    targets, _ = kind.read_targets(rows, labels, lambda note: say(sentence(note)), exact=False)
    return [examples(split.texts, split.pairs, targets[name]) for name, split in rows.items()], notes


def _columns(head: Table, names: ColumnNames, task: Task, say: Say, *, needed: bool) -> Columns:
    """Return a split's columns; without labels where it has none and ``needed`` allows that."""
    columns = choose(head.where, head.columns, say, names, labelled=False, task=task)
    if columns.labels:
        return columns
    try:
        return choose(head.where, head.columns, say, names, task=task)
    except UserError:
        if needed:
            raise
    return columns
