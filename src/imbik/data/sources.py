"""Which tables a data source holds: a file, a folder with train/dev/test files, or a data set of the hub."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imbik.data.formats.csv import FORMATS, check_file, open_table
from imbik.data.formats.table import CHUNK, Chunk, Table, check_columns
from imbik.data.formats.tagged import COLUMN_FORMATS, looks_like_columns, open_parallel, parallel_folders
from imbik.data.formats.text import bare_suffix
from imbik.data.kinds.folders import class_folders
from imbik.errors import UserError
from imbik.jobs.paths import with_home
from imbik.tasks.labels.names import folded
from imbik.types import Say

_NAMES = {
    "train": "train",
    "training": "train",
    "egitim": "train",
    "dev": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "dogrulama": "dev",
    "gelistirme": "dev",
    "test": "test",
    "sinama": "test",
}
_OTHER_NAMES = {"eval": "dev", "evaluation": "dev", "devel": "dev", "development": "dev", "testing": "test", "holdout": "test"}
"""Words that name a split where no file is called by a usual one."""

ALL = "all"  # the one split of a single file


def tables_of(source: str | Path, encoding: str | None, say: Say, *, images: bool = False) -> dict[str, list[Table]]:
    """Return the tables of each split: ``train``, ``dev``, ``test``, or ``all`` for a single file; several are shards.

    Args:
        source: a file, a folder or a hub name.
        encoding: of the files, where it is neither UTF-8 nor marked UTF-16.
        say: takes one line for the user.
        images: whether the rows are images: a folder may then hold a folder of them for each class.

    Raises:
        UserError: nothing there, or nothing that can be told apart.
    """
    path = with_home(source)
    if path.is_file():
        return {ALL: [open_table(path, encoding, say)]}
    if not path.exists():
        return _hub_tables(str(source))
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return _saved_tables(path)
    classes = class_folders(path, _NAMES | _OTHER_NAMES, ALL) if images else None
    if classes is not None:
        return classes
    parallel = parallel_folders(path)
    if parallel:
        return _parallel_tables(path, parallel, encoding)
    files = find_files(path, encoding)
    splits = assign_splits(files)
    _check_splits(path, splits)
    unread = [file.name for file in files if file not in {one for several in splits.values() for one in several}]
    if unread:
        say(f"{path}: not read: {', '.join(unread[:8])}; a file is read whose name says train, dev or test")
    return {name: [open_table(file, encoding, say) for file in files] for name, files in splits.items()}


def _parallel_tables(folder: Path, parts: dict[str, Path], encoding: str | None) -> dict[str, list[Table]]:
    if list(parts.values()) == [folder]:
        return {ALL: [open_parallel(folder, encoding)]}
    known = {_NAMES[name.lower()]: path for name, path in parts.items() if name.lower() in _NAMES}
    if not known:
        raise UserError("no train split", where=folder, found=", ".join(parts), expected="folders train, valid and test")
    return {name: [open_parallel(path, encoding)] for name, path in known.items()}


def find_files(folder: Path, encoding: str | None = None) -> list[Path]:
    """Return the data files of a folder, or of its sub-folder ``data`` where it has none itself; else text files that hold tags."""
    known = (*FORMATS, *COLUMN_FORMATS)
    files = sorted(file for file in folder.iterdir() if bare_suffix(file) in known and file.is_file())
    if not files and (folder / "data").is_dir():
        files = sorted(file for file in (folder / "data").iterdir() if bare_suffix(file) in known)
    texts = [] if files else sorted(file for file in folder.glob("*.txt") if file.is_file() and file.stat().st_size)
    return files or [file for file in texts if looks_like_columns(file, encoding)]


def assign_splits(files: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the files of each split by the word in their names; of several, the one that is named by the word alone.

    >>> sorted(assign_splits([Path("train.csv"), Path("atis_train.csv"), Path("valid-00000-of-00002.parquet"), Path("notes.csv")]))
    ['dev', 'train']
    """
    splits = _by_word(files, _NAMES)
    for name, several in _by_word(files, _OTHER_NAMES).items():
        splits.setdefault(name, several)
    exact = {name: [file for file in several if len(_words_of(file)) == 1] for name, several in splits.items()}
    return {name: exact[name] if len(exact[name]) == 1 else several for name, several in splits.items()}


def _by_word(files: Sequence[Path], names: Mapping[str, str]) -> dict[str, list[Path]]:
    splits: dict[str, list[Path]] = {}
    for file in files:
        # whole words only: `pretrain.csv` is no train file, and `train_dev.csv` says two things
        words = {(_NAMES | _OTHER_NAMES)[word]: word for word in _words_of(file) if word in _NAMES or word in _OTHER_NAMES}
        if len(words) == 1 and set(words.values()) <= set(names):
            splits.setdefault(next(iter(words)), []).append(file)
    return splits


def _words_of(file: Path) -> list[str]:
    """Return the words of a file's name, folded, without its suffixes."""
    stem = Path(file.stem).stem if file.suffix.lower() == ".gz" else file.stem
    return re.split(r"[-_. ]", re.sub(r"(held|hold)[-_. ]?out", "holdout", folded(stem)))


def _check_splits(folder: Path, splits: dict[str, list[Path]]) -> None:
    """Refuse a folder without splits, and several files of one split that are not shards of one table."""
    for name, several in splits.items():
        if len(several) > 1 and not all(re.search(r"-\d+-of-\d+$", file.stem) for file in several):
            raise UserError(
                f"several files could be {name}",
                where=folder,
                found=", ".join(file.name for file in several),
                fix="keep one of them, or give the file itself",
            )
    if not splits:
        raise UserError(
            "no train file in the folder",
            where=folder,
            found=", ".join(sorted(file.name for file in folder.iterdir())[:8]) or "an empty folder",
            expected=f"train, dev and test files ({', '.join(FORMATS)})",
            fix="name a file train.csv, or give the file itself; folders of images are read with --task image-classification",
        )
    for several in splits.values():
        for file in several:
            check_file(file)


def _saved_tables(path: Path) -> dict[str, list[Table]]:
    """Return the tables of a folder that ``datasets.save_to_disk`` wrote."""
    from datasets import load_from_disk

    return _hub_splits(str(path), load_from_disk(str(path)))


def _hub_tables(name: str) -> dict[str, list[Table]]:
    looks_like_path = name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1
    if looks_like_path or bare_suffix(Path(name)) in FORMATS or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?(:[\w.-]+)?", name):
        raise UserError("no such file or folder", where=name, expected="a data file or folder", fix="check the path")
    nothing = UserError(
        "no such file or folder, and no data set of this name could be loaded from the hub",
        where=name,
        expected=f"a file ({', '.join(FORMATS)}), a folder with train/dev/test files, or a hub name",
        fix='check the path; hub names need the network and pip install "imbik[compress]"',
    )
    try:
        from datasets import load_dataset
    except ModuleNotFoundError as error:
        raise nothing from error
    repository, _, configuration = name.partition(":")
    try:
        # a data set is data: code that it brings along is never run
        loaded = load_dataset(repository, configuration or None, trust_remote_code=False)
    except Exception as error:  # the hub's client raises its own types, from half a dozen packages
        nothing.found = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
        raise nothing from error
    return _hub_splits(name, loaded)


def _hub_splits(name: str, loaded: Any) -> dict[str, list[Table]]:
    if not hasattr(loaded, "items"):
        return {ALL: [_hub_table(name, loaded)]}
    splits: dict[str, list[Table]] = {}
    for names in (_NAMES, _OTHER_NAMES):
        for key in [key for key in loaded if key in names]:
            splits.setdefault(names[key], [_hub_table(f"{name} [{key}]", loaded[key])])
    if not splits:
        raise UserError("no train split", where=name, found=", ".join(loaded), expected="train, validation, test")
    return splits


def _hub_table(where: str, rows: Any) -> Table:
    features = {name: getattr(feature, "feature", feature) for name, feature in rows.features.items()}
    names = {name: tuple(inner.names) for name, inner in features.items() if getattr(inner, "names", None)}

    # a format that was saved with it (torch, numpy, pandas) would give tensors for labels
    rows = rows.with_format(None)
    for name, feature in rows.features.items():
        if getattr(feature, "decode", False):  # images as the bytes that they are
            rows = rows.cast_column(name, type(feature)(decode=False))

    def stream(wanted: Sequence[str]) -> Iterator[Chunk]:
        start = 1
        for batch in rows.select_columns(list(wanted)).iter(batch_size=CHUNK):
            size = len(batch[wanted[0]])
            yield Chunk(batch, np.arange(start, start + size))
            start += size

    return Table(where, check_columns(where, list(rows.column_names)), stream, names)
