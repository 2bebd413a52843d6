"""The one place where data is read as what its task's models read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imbik.data.columns import Columns
from imbik.data.formats.table import Table
from imbik.data.kinds.images import read_images
from imbik.data.rows import Rows, read_rows
from imbik.errors import UserError
from imbik.tasks.outputs import IMAGES
from imbik.tasks.task import Task


def read_split(task: Task | None, tables: Sequence[Table], columns: Columns, *, skip_broken: bool = False) -> Rows:
    """Read the tables of a split: images where the task's models read them, else texts.

    Args:
        task: None: not known yet; it is one of texts.
        tables, columns: see :func:`imbik.data.rows.read_rows`.
        skip_broken: see :func:`imbik.data.kinds.images.read_images`.

    Raises:
        UserError: as those two.
    """
    few = task is None or task.few_values
    if reads_images(task):
        return read_images(tables, columns, few_values=few, skip_broken=skip_broken)
    refuse_skipping(skip_broken)
    return read_rows(tables, columns, few_values=few)


def reads_images(task: Task | None) -> bool:
    """Return whether a task's models read images."""
    return task is not None and task.reads == IMAGES


def refuse_skipping(asked: bool) -> None:
    """Refuse to leave out broken rows where they are texts.

    Raises:
        UserError: it was asked for.
    """
    if asked:
        raise UserError("only images can be broken", where="--skip-broken", found="texts", fix="leave it out")


def refuse_unlabelled(task: Task | None, unlabelled: str | Path | None) -> None:
    """Refuse further rows without labels where they are images.

    Raises:
        UserError: there are some.
    """
    if unlabelled is not None and reads_images(task):
        fix = "leave it out; augmentation makes more images, which the teacher labels"
        raise UserError("further images without labels are not read", where="--unlabelled", found=unlabelled, fix=fix)
