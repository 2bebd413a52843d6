"""Data to measure a finished artefact on: only the splits that are needed, in the artefact's own labels."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imbik.data.columns import choose
from imbik.data.formats.table import Say
from imbik.data.labels import targets_of
from imbik.data.rows import Rows, combined, examples, read_rows
from imbik.data.sources import ALL, tables_of
from imbik.errors import UserError
from imbik.locale.notes import sentence
from imbik.tasks.metrics import metric_for
from imbik.types import Examples, Note, TaskName

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
    *,
    labels: Sequence[str],
    task: TaskName,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | None = None,
    metric: str | None = None,
    encoding: str | None = None,
    say: Say = logger.info,
) -> Evaluation:
    """What to measure a finished artefact on: a folder's test and dev, or the whole of a single file.

    Train is read only where there is nothing else to measure on. The data may lack some of ``labels``.

    Raises:
        UserError: see :func:`load_data`; no labelled split.
    """
    tables = tables_of(source, encoding, say)
    names = [name for name in (ALL, "test", "dev") if name in tables] or ["train"]
    rows: dict[str, Rows] = {}
    for name in names:
        head = tables[name][0]
        columns = choose(head.where, head.columns, say, text=text, text_pair=text_pair, label=label, labelled=False)
        if not columns.labels:
            try:
                columns = choose(head.where, head.columns, say, text=text, text_pair=text_pair)
            except UserError:
                if name != "test" or "dev" not in tables:
                    raise
        found = read_rows(tables[name], columns)
        if not found.unlabelled():
            rows[name] = found
    if not rows:
        raise UserError("no labels to measure against", where=source, expected="a labelled test or dev split")
    notes = [] if next(iter(rows)) in (ALL, "test") else [Note.of("measured_on", split=next(iter(rows)))]
    targets, _ = targets_of(rows, task, labels, lambda note: say(sentence(note)), exact=False)
    parts = [examples(r.texts, r.pairs, targets[name]) for name, r in rows.items()]
    dev = parts[1] if len(parts) > 1 else None
    for note in notes:
        say(sentence(note))
    return Evaluation(
        parts[0], dev, task, tuple(labels), metric_for(task, metric), str(source),
        combined(*parts), tuple(notes),
    )  # fmt: skip
