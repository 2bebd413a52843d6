"""Files of images, and tables with a column of them, as one stream of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from imbik.data.columns import ColumnNames, Columns
from imbik.data.formats.table import Table
from imbik.data.formats.text import bare_suffix
from imbik.data.kinds.images import image_in
from imbik.errors import UserError
from imbik.images.decode import SUFFIXES
from imbik.images.named import NamedImages
from imbik.predict.sources import Rows, handed_on, open_with
from imbik.tasks.answers.asking import check_pairs
from imbik.tasks.task import Task
from imbik.types import Say


def is_image(path: Path) -> bool:
    """Return whether a file is taken for an image, by its name."""
    return bare_suffix(path) in SUFFIXES


def stream_images(files: Sequence[Path], names: ColumnNames, keep: Sequence[str], task: Task, say: Say) -> Iterator[Rows]:
    """Yield images, those of a table some at a time; nothing is decoded here, and files of images are not read.

    Args:
        files: images, tables (all with the same columns) and text files with a path a line.
        names: which column holds the images; guessed of the first table (and said) where not given.
        keep: further columns of tables.
        task: of the model.
        say: takes one line for the user.

    Raises:
        UserError: a column is missing, or asked of files that are images themselves; a table that is broken (file, row).
    """
    check_pairs(False, names.text_pair is not None)
    columns: Columns | None = None
    for images, paths in groupby(files, is_image):
        if images:
            found = list(map(str, paths))
            _refuse_columns(found[0], keep)
            yield Rows(found, images=NamedImages(found, found))
            continue
        for path in paths:
            table, columns = open_with(path, columns, names, keep, say, task)
            for chunk in table.stream([columns.text, *keep]):
                cells = chunk.columns[columns.text]
                kept = handed_on(table, chunk, keep)
                given = [_given(cell, table, int(row), columns.text) for cell, row in zip(cells, chunk.rows, strict=True)]
                yield Rows([one for one, _, _ in given], None, kept, NamedImages([one for _, one, _ in given], [one for *_, one in given]))


def _refuse_columns(path: str, keep: Sequence[str]) -> None:
    if keep:
        raise UserError("an image has no columns to hand on", where="--keep", found=path, expected="tables with a column of images")


def _given(cell: Any, table: Table, row: int, column: str) -> tuple[str, object, str]:
    """Return what readers are shown of an image, the image, and what messages call it; a cell without one is told when it is decoded."""
    where = table.at(row)
    try:
        held = image_in(cell, table, f"{where}, column {column!r}")
    except UserError:
        return where, None, f"{where}, column {column!r}"
    if isinstance(held, Path):
        path = cell["path"] if isinstance(cell, dict) else cell
        return str(path), str(held), f"{where}: {held}"
    # of bytes a path is a name that somebody gave them
    name = cell["path"] if isinstance(cell, dict) and "path" in cell and cell["path"] else where
    return str(name), held, f"{where}, column {column!r}"
