"""What lies in a file or folder, as a short hash: work that was made of a folder is found again by what is in it, not by its name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from imbik.jobs.files import sha256
from imbik.jobs.paths import with_home

_WHOLE = 1 << 30  # bytes; of larger files evenly spread pieces are read
_PIECE, _PIECES = 1 << 16, 1024
_MODEL = (".json", ".safetensors", ".txt", ".model")


def content(source: str | Path) -> str | None:
    """sha256 (hex) over names and contents of a file, of a model's folder (configuration, weights, tokenizer: not its README) or of all
    files below any other folder, hidden ones left out; None where nothing lies there, as for a hub name.

    Files above 1 GiB count by their size and by 1,024 pieces of 64 KiB, evenly spread.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.txt").write_text("one"), (folder / "b.txt").write_text("one")
    >>> content(folder / "a.txt") == content(folder / "b.txt"), content(folder / "c.txt")
    (True, None)
    """
    path = with_home(source)
    if path.is_file():
        return _of_file(path)
    if (path / "config.json").is_file():
        files = [file for file in path.iterdir() if file.suffix in _MODEL and file.is_file()]
    elif path.is_dir():
        parts = ((file, file.relative_to(path).parts) for file in path.rglob("*"))
        files = [file for file, names in parts if file.is_file() and not any(name.startswith(".") for name in names)]
    else:
        return None
    return content_of(files, path)


def content_of(files: Iterable[Path], folder: Path) -> str:
    """sha256 (hex) over the files' contents and their names in ``folder``, whatever order they come in."""
    digest = hashlib.sha256()
    for name, file in sorted((file.relative_to(folder).as_posix(), file) for file in files):
        digest.update(f"{name}\0{_of_file(file)}\n".encode())
    return digest.hexdigest()


def _of_file(path: Path) -> str:
    stat = path.stat()
    return _read(path.resolve(), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4096)
def _read(path: Path, size: int, _changed: int) -> str:
    """The hash of one file; asked again in the same process, it is read again only if its size or time of change differs."""
    if size <= _WHOLE:
        return sha256(path)
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for number in range(_PIECES):
            file.seek(number * (size - _PIECE) // (_PIECES - 1))
            digest.update(file.read(_PIECE))
    return digest.hexdigest()


def key_of(arguments: dict[str, Any]) -> str:
    """A short hash of JSON-able arguments, the same in every process."""
    return hashlib.sha256(json.dumps(arguments, sort_keys=True, default=str).encode()).hexdigest()[:24]
