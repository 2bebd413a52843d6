"""A model and a part of the rows: what every process that answers does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imbik.predict.sources import Rows
from imbik.runtime.manifest import MANIFEST_FILE
from imbik.tasks.registry import task_of
from imbik.tasks.task import Decoded

if TYPE_CHECKING:
    from imbik.runtime.predictor import Predictor


_GIVEN = {"text", "pair", "image"}
"""Columns that show what was asked."""


@dataclass(frozen=True)
class Model:
    """What answers, and how.

    Attributes:
        artefact: its folder.
        engine: of a checkpoint folder; None: as the folder says.
        threads, batch_tokens, length_multiple: see :func:`imbik.runtime.predictor.load_artefact`.
        skip_broken: leave out images that cannot be read.
    """

    artefact: Path
    engine: str | None = None
    threads: int | None = None
    batch_tokens: int | None = None
    length_multiple: int | None = None
    skip_broken: bool = False

    @property
    def is_checkpoint(self) -> bool:
        """Whether PyTorch runs it: a model's folder that is no artefact."""
        return not (self.artefact / MANIFEST_FILE).is_file() and (self.artefact / "config.json").is_file()

    def load(self) -> Predictor:
        """Open the folder."""
        from imbik.runtime.predictor import load_artefact

        return load_artefact(
            self.artefact,
            threads=self.threads,
            batch_tokens=self.batch_tokens,
            length_multiple=self.length_multiple,
            engine_name=self.engine,
        )


@dataclass(frozen=True)
class Answers:
    """Rows and what a model says of them.

    Attributes:
        rows: N rows.
        decoded: what the task made of the outputs.
        task: its name.
        labels: label names.
        top: labels of each row at most.
    """

    rows: Rows
    decoded: Decoded
    task: str
    labels: Sequence[str]
    top: int

    def objects(self) -> Iterator[dict[str, Any]]:
        """Yield ``{"text" (or "image"), ("pair",) columns that are handed on}`` and what the task answers, as JSON's own types."""
        given, rows = self._given(), self.rows
        answers = task_of(self.task).answers(self.decoded, self.labels, rows.texts, rows.pairs, self.top)
        taken = {name for answer in answers[:1] for name in answer} | _GIVEN
        kept = {_name(name, taken): cells for name, cells in rows.kept.items()}
        for row, answer in enumerate(answers):
            shown = {name: cells[row] for name, cells in (given | kept).items()}
            # a task's answer repeats the text
            yield shown | {name: value for name, value in answer.items() if name != "text" or name in shown}

    def columns(self) -> dict[str, Sequence[Any]]:
        """Return the same as columns of a table; a row for each entity of a tagged text."""
        given, rows = self._given(), self.rows
        # columns where the task has them: rows as dictionaries take most of the time of a small model
        fields = task_of(self.task).columns(self.decoded, self.labels, self.top)
        # a text may have several rows
        if fields is None:
            return self._by_row()
        taken = fields.keys() | _GIVEN
        return {**given, **{_name(name, taken): cells for name, cells in rows.kept.items()}, **fields}

    def _by_row(self) -> dict[str, Sequence[Any]]:
        records = [record for answer in self.objects() for record in task_of(self.task).records(answer)]
        return {name: [record[name] for record in records] for name in (records[0] if records else ())}

    def _given(self) -> dict[str, list[str]]:
        return {"text" if self.rows.images is None else "image": self.rows.texts} | (
            {} if self.rows.pairs is None else {"pair": self.rows.pairs}
        )

    def types(self, names: Iterable[str]) -> Mapping[str, type]:
        """Return the type of each of :meth:`columns`: str, int, float or list (of numbers)."""
        known = task_of(self.task).record_types
        given = {*_GIVEN, *self.rows.kept}
        return {name: str if name in given else known.get(_bare(name), str) for name in names}


def _name(name: str, taken: Any) -> str:
    """Return what a column that is handed on is called: a name that an answer's column has is the answer's."""
    return f"input_{name}" if name in taken else name


def _bare(name: str) -> str:
    """Return a numbered field's name without its number: ``label`` of ``label_2``."""
    head, _, number = name.rpartition("_")
    return head if number.isdecimal() else name
