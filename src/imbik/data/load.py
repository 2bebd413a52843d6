"""The data room: files, folders and hub data sets become :class:`~imbik.types.Splits`.

Rows stream through; only targets and one number per row stay in memory.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from imbik.data.columns import Columns, choose
from imbik.data.evaluation import Evaluation, load_evaluation
from imbik.data.formats.csv import open_table, read_lines
from imbik.data.formats.table import Say, Table
from imbik.data.label_column import guess_task
from imbik.data.labels import targets_of
from imbik.data.rows import Rows, combined, examples, read_rows, same_columns, take
from imbik.data.sources import ALL, tables_of
from imbik.data.splitting import MOST, carve, contradicting, shared, strata
from imbik.errors import UserError
from imbik.locale.notes import sentence
from imbik.tasks.metrics import metric_for
from imbik.types import Examples, Note, Splits, TaskName

logger = logging.getLogger(__name__)

_FEWEST = 4  # rows: one each for dev and test, and two classes to learn from


@dataclass
class _Part:
    """A split on its way: its examples and the keys of its rows."""

    examples: Examples
    keys: NDArray[np.int64]

    def carve(self, task: TaskName, seed: int, name: str) -> tuple[_Part, _Part]:
        """What stays, and the new split."""
        assert self.examples.targets is not None
        rows = carve(strata(self.examples.targets, task), self.keys, seed, MOST[name])
        staying, going = (_Part(take(self.examples, chosen), self.keys[chosen]) for chosen in rows)
        return staying, going


def load_data(
    source: str | Path,
    *,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | None = None,
    task: str | None = None,
    metric: str | None = None,
    labels: Sequence[str] | None = None,
    unlabelled: str | Path | None = None,
    encoding: str | None = None,
    seed: int = 0,
    say: Say = logger.info,
) -> Splits:
    """Read a task's data.

    Args:
        source: a CSV, TSV, JSON lines, JSON or Parquet file; a folder with train, dev (or validation) and test files; or
            a hub name (``owner/name``, ``name:configuration``).
        text, text_pair, label: column names; guessed (and said) where not given. ``label`` may name several columns
            behind commas: multi-label.
        task: ``classification``, ``multi-label`` or ``regression``; guessed from the labels where not given.
        metric: see :data:`imbik.tasks.metrics.METRICS`; the task's default where not given.
        labels: the label names in order (a teacher's); the data must have exactly these.
        unlabelled: a file of further texts for distillation.
        encoding: where it is neither UTF-8 nor marked UTF-16.
        seed: of the carving.
        say: takes each guess and note as one line for the user.

    Returns:
        Splits whose ``train``, ``dev`` and ``test`` all carry targets. Without dev, a tenth of train (stratified, at most
        2,000 rows) becomes dev; without labelled test, the labelled dev is reported on and another dev is carved; a
        single file gives all three. No text stands on both sides of a cut.

    Raises:
        UserError: anything in the data that is not as it should be, with file, row and column.
    """
    tables = tables_of(source, encoding, say)
    if ALL not in tables and "train" not in tables:
        raise UserError("no train split", where=source, found=", ".join(sorted(tables)), expected="a train file", fix="add train.csv")
    main = ALL if ALL in tables else "train"
    head = tables[main][0]
    columns = choose(head.where, head.columns, say, text=text, text_pair=text_pair, label=label)
    rows = _read(tables, main, columns)
    chosen = _task(task, rows[main], labels, say)
    notes = _drop_unlabelled(rows, main)
    targets, names = targets_of(rows, chosen, labels, notes.append)
    parts = {k: _Part(examples(r.texts, r.pairs, targets[k]), r.keys) for k, r in rows.items()}
    parts["train"] = parts.pop(main)
    notes += _doubles(parts, chosen) + _empties(rows)
    notes += _complete(parts, chosen, seed, head.where, single_file=main == ALL)
    extra = None if unlabelled is None else _extra(unlabelled, columns, encoding, parts, notes, say)
    for note in notes:
        say(sentence(note))
    train, dev, test = (parts[name].examples for name in ("train", "dev", "test"))
    return Splits(
        train, dev, test, chosen, names, metric_for(chosen, metric), str(source),
        combined(train, dev, test, extra), tuple(notes), extra,
    )  # fmt: skip


def load_texts(
    path: str | Path,
    *,
    text: str | None = None,
    text_pair: str | None = None,
    encoding: str | None = None,
    say: Say = logger.info,
) -> Examples:
    """Texts without labels: a ``.txt`` file (one line, one text) or the text column of a data file; targets are None.

    Raises:
        UserError: see :func:`load_data`.
    """
    return _load_texts(path, text, text_pair, encoding, say)[0]


def _read(tables: dict[str, list[Table]], main: str, columns: Columns) -> dict[str, Rows]:
    """The splits, train first: its labels are the ones that count."""
    order = [main, *(name for name in ("dev", "test") if name in tables)]
    found = {}
    for name in order:
        for table in tables[name]:
            fitting = same_columns(columns, table, labelled=name == main)
        found[name] = read_rows(tables[name], fitting)
    if found[main].unlabelled():
        raise UserError(
            "train has no labels",
            where=f"{found[main].where}, column {columns.labels[0]!r}",
            found="nothing but empty cells",
            fix="name the label column with --label",
        )
    return found


def _task(task: str | None, rows: Rows, labels: Sequence[str] | None, say: Say) -> TaskName:
    if task is None:
        guessed = guess_task(rows.labels, labels)
        say(f"task guessed from column {', '.join(column.name for column in rows.labels)}: {guessed}")
        return guessed
    for name in get_args(TaskName):
        if task == name:
            return name  # type: ignore[no-any-return]
    raise UserError("unknown task", where="--task", found=repr(task), expected=" or ".join(get_args(TaskName)))


def _drop_unlabelled(rows: dict[str, Rows], main: str) -> list[Note]:
    notes = []
    for name in [name for name, split in rows.items() if name != main and split.unlabelled()]:
        del rows[name]
        notes.append(Note.of("no_labels", split=name))
    return notes


def _complete(parts: dict[str, _Part], task: TaskName, seed: int, where: str, *, single_file: bool) -> list[Note]:
    """Fill in ``dev`` and ``test`` by the rules that :func:`load_data` states; the notes say what was done."""
    notes = []
    total = len(parts["train"].keys)
    if ("dev" not in parts or "test" not in parts) and total < _FEWEST:
        raise UserError(
            "too few rows to carve dev and test from",
            where=where,
            found=f"{total} rows",
            expected=f"{_FEWEST} or more",
            fix="give more rows, or a folder with train, dev and test files",
        )
    if "test" not in parts and "dev" in parts:
        parts["test"] = parts.pop("dev")
        notes.append(Note.of("dev_reported", count=len(parts["test"].keys)))
    for name in ("test", "dev"):
        if name not in parts:
            parts["train"], parts[name] = parts["train"].carve(task, seed, name)
            kind = "carved_file" if single_file else "carved_train"
            notes.append(Note.of(kind, split=name, count=len(parts[name].keys), seed=seed))
    return notes


def _doubles(parts: dict[str, _Part], task: TaskName) -> list[Note]:
    """Notes on texts that stand twice in the data as given, compared without case and punctuation."""
    notes = []
    for name in ("test", "dev"):
        both = shared(parts["train"].keys, parts[name].keys) if name in parts else 0
        if both:
            notes.append(Note.of("in_train", count=both, total=len(parts[name].keys), split=name))
    for name in parts:
        targets = parts[name].examples.targets
        if task == "regression" or targets is None:
            continue
        codes = targets if targets.ndim == 1 else np.unique(targets, axis=0, return_inverse=True)[1].reshape(-1)
        several = contradicting(parts[name].keys, codes)
        if several:
            notes.append(Note.of("contradicting", count=several, split=name))
    return notes


def _empties(rows: dict[str, Rows]) -> list[Note]:
    return [Note.of("empty", count=split.empty, file=str(split.where)) for split in rows.values() if split.empty]


def _load_texts(
    path: str | Path, text: str | None, text_pair: str | None, encoding: str | None, say: Say
) -> tuple[Examples, NDArray[np.int64]]:
    file = Path(path).expanduser()
    lines = file.suffix.lower() == ".txt"
    table = read_lines(file, encoding) if lines else open_table(file, encoding, say)
    if lines and text is None:
        text = table.columns[0]  # there is only one: nothing is guessed
    columns = choose(table.where, table.columns, say, text=text, text_pair=text_pair, labelled=False)
    rows = read_rows([table], columns)
    return examples(rows.texts, rows.pairs, None), rows.keys


def _extra(path: str | Path, columns: Columns, encoding: str | None, parts: dict[str, _Part], notes: list[Note], say: Say) -> Examples:
    """The user's own texts, with the columns of the task where the file has them."""
    file = Path(path).expanduser()
    if file.suffix.lower() == ".txt":
        text = pair = None
    else:
        present = open_table(file, encoding).columns
        text = columns.text if columns.text in present else None
        pair = columns.pair if columns.pair in present else None
    found, keys = _load_texts(file, text, pair, encoding, say)
    if (found.pairs is None) != (columns.pair is None):
        raise UserError(
            "texts that do not fit the task",
            where=path,
            found="pairs of texts" if found.pairs is not None else "single texts",
            expected="pairs of texts" if columns.pair else "single texts",
            fix="give a file with the same text columns as the data",
        )
    both = shared(parts["test"].keys, keys)
    if both:
        notes.append(Note.of("in_test", count=both))
    return found


__all__ = ["Evaluation", "load_data", "load_evaluation", "load_texts"]
