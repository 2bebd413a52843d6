"""A private folder inside an output folder that holds unfinished work, and tells one run's work from another's."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from imbik.errors import UserError
from imbik.jobs.files import read_json, write_json
from imbik.jobs.fingerprints import key_of

NAME = ".imbik"
_LOCK = "lock"


class Workspace:
    """Unfinished work of one command in ``directory/.imbik``; entered, it holds the folder's lock, and left without an error it removes
    what only served to continue.

    Args:
        directory: the output folder; made if it is missing.
        arguments: what the work depends on (JSON-able). Work under other arguments is kept apart by their hash.

    Raises:
        UserError: the folder cannot be written, holds another model, or another run is working in it (when entered).
    """

    def __init__(self, directory: Path, arguments: dict[str, Any]) -> None:
        self.directory, self.root = directory, directory / NAME
        self.key = key_of(arguments)
        self._lock = contextlib.ExitStack()

    def path(self, name: str) -> Path:
        """A folder for one piece of the work."""
        return self.root / self.key / name

    def __enter__(self) -> Workspace:
        self._lock.enter_context(locked(self.directory))
        if (self.directory / "config.json").is_file() and not (self.root / self.key).is_dir():
            self._lock.close()
            _remove_if_empty(self.root)
            raise UserError(
                "the output folder holds a model already",
                where=self.directory,
                found="config.json of a model that was made from something else, or with other settings",
                fix="choose another folder with --out, or delete this one",
            )
        (self.root / self.key).mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            shutil.rmtree(self.root / self.key, ignore_errors=True)
        self._lock.close()
        _remove_if_empty(self.root)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold an output folder for one run. The operating system drops the lock when the process ends, so a killed run leaves none behind.

    Raises:
        UserError: another run holds it, or the folder cannot be written.
    """
    writable(directory)
    with open(directory / NAME / _LOCK, "a+b") as file:
        if not _take(file):
            raise UserError(
                "another run is working in this folder", where=directory, fix="wait until it ends, or choose another folder with --out"
            )
        yield


def _take(file: IO[bytes]) -> bool:
    """Whether the lock could be taken. A file system without locks (some network ones) lets every run through."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True
    return True


def _remove_if_empty(root: Path) -> None:
    """Delete ``.imbik`` where nothing but the lock is left in it."""
    with contextlib.suppress(OSError):
        if os.listdir(root) == [_LOCK]:
            (root / _LOCK).unlink()
            root.rmdir()


def writable(directory: Path) -> None:
    """Make the output folder and its ``.imbik``, and try to write there.

    Raises:
        UserError: it is a file, or cannot be written.
    """
    try:
        (directory / NAME).mkdir(parents=True, exist_ok=True)
        probe = directory / NAME / "probe"
        probe.write_text("", encoding="utf-8")
        probe.unlink()
    except (FileExistsError, NotADirectoryError):
        raise UserError("the output folder is a file, or lies in one", where=directory, fix="choose another folder with --out") from None
    except OSError as error:
        raise UserError(
            "the output folder cannot be written", where=directory, found=error.strerror, fix="choose a folder that you own with --out"
        ) from None


class Clock:
    """Seconds spent inside, summed over the runs that a kill cut a step into (the last cut-off piece is lost)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.total = float(read_json(path).get("seconds", 0.0))

    def __enter__(self) -> Clock:
        self.began = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self.total += time.perf_counter() - self.began
        if self.path.parent.is_dir():
            write_json(self.path, {"seconds": self.total})
