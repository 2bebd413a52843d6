"""Folders of images, a folder for each class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from imbik.data.formats.table import CHUNK, Chunk, Table
from imbik.errors import UserError
from imbik.images.decode import SUFFIXES
from imbik.jobs.paths import with_home

COLUMNS = ("image", "label")


def class_folders(source: str | Path, splits: Mapping[str, str], whole: str) -> dict[str, list[Table]] | None:
    """Return the tables of a folder of images: a class for each folder that holds some; None for a folder that holds other data.

    Args:
        source: a folder of classes, or one of splits that hold the classes.
        splits: names of folders -> split.
        whole: the split of a folder without splits.

    Raises:
        UserError: a folder without images, or images without classes.
    """
    root = with_home(source).absolute()
    if not root.is_dir():
        return None
    parts = {splits[folder.name.lower()]: folder for folder in _folders(root) if folder.name.lower() in splits}
    tables = {name: _table(folder) for name, folder in parts.items()}
    if any(tables.values()):
        return {name: [table] for name, table in tables.items() if table is not None}
    # no folder is called like a split: the folders are classes
    table = _table(root)
    if table is not None:
        return {whole: [table]}
    if any(map(_is_other, root.iterdir())) and not any(map(_is_image, root.iterdir())):
        return None  # files of a table, perhaps
    raise UserError(
        "a folder without images in folders of classes",
        where=root,
        found=", ".join(sorted(entry.name for entry in root.iterdir())[:8]) or "an empty folder",
        expected=f"train/CLASS/*.png and test/CLASS/*.png, or CLASS/*.png ({', '.join(SUFFIXES)}), or Parquet files",
        fix="put the images of each class in a folder that is called like the class",
    )


def _folders(root: Path) -> list[Path]:
    return sorted(folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith("."))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _is_other(path: Path) -> bool:
    """Whether a file may hold rows."""
    return path.is_file() and not path.name.startswith(".") and path.suffix.lower() not in ("", ".txt", ".md")


def _table(root: Path) -> Table | None:
    """Return the images of the class folders in a folder, one class behind the other; None where there are none."""
    found: list[tuple[str, str]] = []
    for folder in _folders(root):
        files = sorted(Path(place) / name for place, _, names in os.walk(folder) for name in names if _is_image(Path(name)))
        found += [(str(file), folder.name) for file in files]
    if not found:
        return None

    def stream(wanted: Sequence[str]) -> Iterator[Chunk]:
        for start in range(0, len(found), CHUNK):
            part = found[start : start + CHUNK]
            columns = {"image": [path for path, _ in part], "label": [label for _, label in part]}
            yield Chunk({name: columns[name] for name in wanted}, np.arange(start + 1, start + 1 + len(part)))

    return Table(str(root), COLUMNS, stream, unit="image")
