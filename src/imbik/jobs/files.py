"""Files and folders written whole, and nothing replaced or removed that was not made by us.

The rule of the house: whatever replaces or removes a file or a folder first proves that imbik made it, by what is recorded in it, and
touches only what is listed there. A file that somebody else put in between stays, and the command says so before it does any work.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from imbik.errors import UserError

Listing = Callable[[Path], AbstractSet[str] | None]
"""Paths (``a/b.txt``, relative) of the files that imbik made in a folder; None: this is no folder of ours."""

_MARK = "made-by-imbik"
_EXCHANGE, _HERE = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of Linux' renameat2


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file whole or not at all: yields a name beside it; what is written there is flushed and takes the file's place.

    After an error or a kill the old file is what it was.

    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with replacing(place) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> [file.name for file in place.parent.iterdir()]
    ['a.txt']
    """
    temporary = path.with_name(f".{path.name[:40]}.{os.getpid()}.tmp")
    _refuse_folder(path)
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def write_json(path: Path, value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write a mapping, or a list, as JSON, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Return what :func:`write_json` wrote; empty where there is no such file, or none that can be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def sha256(path: Path) -> str:
    """Return the hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def inside(folder: Path, name: str, where: object) -> Path:
    """Return ``folder / name`` of a name that comes from a file or a user, and must not lead out of the folder.

    Links count: what lies behind one must lie in the folder too. The links of a Hugging Face cache, from ``snapshots/…`` to its own
    ``blobs``, are the one exception.

    Args:
        folder: where it must stay.
        name: a relative path; ``/`` divides it.
        where: what named it, for the message.

    Raises:
        UserError: it is absolute, or leads out of the folder.

    >>> inside(Path("out"), "a/b.txt", "a manifest").as_posix()
    'out/a/b.txt'
    """
    parts = PurePosixPath(name).parts
    plain = bool(parts) and ".." not in parts and "\\" not in name and "\0" not in name
    if plain and not PurePosixPath(name).is_absolute() and not PureWindowsPath(name).drive:
        path = folder / name
        root, target = Path(os.path.realpath(folder)), Path(os.path.realpath(path))
        if target.is_relative_to(root) or (root.parent.name == "snapshots" and target.is_relative_to(root.parents[1] / "blobs")):
            return path
    raise UserError(
        "a name leads out of its folder",
        where=where,
        found=name,
        expected=f"a relative name of something in {folder}",
        fix="do not use files from a source that you do not trust",
    )


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise UserError("a folder stands where a file is to be written", where=path, fix="choose another --out, or move the folder away")


def refuse_foreign_file(path: Path, ours: Callable[[Path], bool]) -> None:
    """Refuse to replace a file that imbik did not make.

    Args:
        path: where a file is to be written.
        ours: whether the file that stands there is one of ours; asked only where one stands that is not empty.

    Raises:
        UserError: it is not, or it is a folder.
    """
    _refuse_folder(path)
    if path.is_symlink() or (path.is_file() and path.stat().st_size and not _proven(path, ours)):  # we make no links
        raise UserError(
            "a file stands here that imbik did not make, and writing would delete it",
            where=path,
            fix="choose another --out, or move the file away",
        )


def _proven(path: Path, ours: Callable[[Path], bool]) -> bool:
    try:
        return ours(path)
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return False


def foreign_files(folder: Path, listed: AbstractSet[str]) -> list[str]:
    """Return the files and links below a folder, as relative paths, that ``listed`` does not name."""
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not (Path(root) / name / _MARK).is_file()]  # what a killed run of ours left
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        found += [(Path(root) / name).relative_to(folder).as_posix() for name in (*files, *links)]
    return sorted(name for name in found if name not in listed)


def refuse_foreign(folder: Path, listed: AbstractSet[str] | None) -> None:
    """Refuse to replace or to remove a folder that holds anything else than what is listed.

    Args:
        folder: it may be missing or empty.
        listed: relative paths of the files that imbik made; None: this is no folder of ours.

    Raises:
        UserError: naming what stands there.
    """
    if folder.is_file():
        raise UserError("the output folder is a file", where=folder, fix="choose another folder with --out")
    foreign = foreign_files(folder, listed or frozenset())
    if foreign:
        raise UserError(
            "the folder holds something else, which writing it would delete",
            where=folder,
            found=", ".join(foreign[:6]) + (f" and {len(foreign) - 6} more" if len(foreign) > 6 else ""),
            expected="a new or empty folder, or one that imbik made" + ("" if listed is None else " and nobody added to"),
            fix="choose another folder with --out (or another name for the recipe), or move these files away",
        )


def remove_folder(folder: Path, listed: AbstractSet[str] | None) -> None:
    """Remove a folder that imbik made: the listed files, and the folders that are empty then.

    Raises:
        UserError: it holds anything else; nothing is removed then.
    """
    refuse_foreign(folder, listed)
    _remove(folder, listed or frozenset())


def _remove(folder: Path, listed: AbstractSet[str]) -> None:
    for name in listed:
        (folder / name).unlink(missing_ok=True)
    for root, folders, _ in os.walk(folder, topdown=False):
        for name in folders:
            if (Path(root) / name / _MARK).is_file():
                shutil.rmtree(Path(root) / name, ignore_errors=True)
        with contextlib.suppress(OSError):  # not empty: somebody put a file there in the meantime
            os.rmdir(root)


@contextlib.contextmanager
def replacing_folder(directory: Path, listed: Listing) -> Iterator[Path]:
    """Write a folder whole or not at all: yields an empty folder; what is put there takes the place of ``directory`` at the end.

    After an error the old folder is what it was. After a kill it is the old or the new one: on Linux they change places in one step;
    elsewhere the next call puts a folder back that was moved aside.

    Args:
        directory: the folder to be; its parent is made.
        listed: what imbik made in the folder that stands there. It must be all that stands there.

    Raises:
        UserError: the folder holds anything else (asked before and after the work), or is a file.
    """
    directory = Path(os.path.realpath(directory))  # a link stays one, and leads to the new folder
    directory.parent.mkdir(parents=True, exist_ok=True)
    _clean_up(directory, listed)
    refuse_foreign(directory, listed(directory))
    aside = directory.with_name(f".{directory.name[:40]}.imbik-{os.getpid()}")
    aside.mkdir()
    (aside / _MARK).write_text(directory.name, encoding="utf-8")
    new = aside / "new"
    new.mkdir()
    try:
        yield new
        for root, _, files in os.walk(new):
            for name in files:
                _flush(Path(root) / name)
        refuse_foreign(directory, listed(directory))
        _change_places(new, directory)
    finally:
        _discard(aside, listed)


def _change_places(new: Path, directory: Path) -> None:
    """Give the new folder its name; the old one, if there is one, lies beside it afterwards."""
    if not directory.exists():
        new.rename(directory)
    elif not _exchange(new, directory):
        old = new.with_name("old")
        directory.rename(old)
        new.rename(directory)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change names in one step; whether this system can."""
    if sys.platform != "linux":
        return False
    import ctypes

    try:
        swap = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    return bool(swap(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0)


def _clean_up(directory: Path, listed: Listing) -> None:
    """Put back or discard what killed runs left beside a folder."""
    for aside in directory.parent.glob(f".{_literal(directory.name[:40])}.imbik-*"):
        number = aside.name.rpartition("-")[2]
        marked = (aside / _MARK).is_file() and (aside / _MARK).read_text(encoding="utf-8") in ("", directory.name)
        if (marked or not any(aside.iterdir())) and number.isdecimal() and not _alive(int(number), aside):
            if (aside / "old").is_dir() and not directory.exists():
                (aside / "old").rename(directory)
            _discard(aside, listed)


def _literal(name: str) -> str:
    """A name for ``glob`` that stands for itself."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _discard(aside: Path, listed: Listing) -> None:
    """Remove a folder in which another one was made: what is unfinished, and of a finished one what is listed in it."""
    for part in (aside / "new", aside / "old"):
        if part.is_dir():
            made = listed(part)
            if made is None:
                shutil.rmtree(part, ignore_errors=True)
            else:
                _remove(part, made)
    if not any((aside / name).exists() for name in ("new", "old")):
        shutil.rmtree(aside, ignore_errors=True)


def _alive(process: int, aside: Path) -> bool:
    """Whether the process that made a folder may still run; on Windows, which has no such question, for a day."""
    if sys.platform == "win32":
        return time.time() - aside.stat().st_mtime < 86_400
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process != os.getpid()
