"""A private folder inside an output folder that holds unfinished work, and tells one run's work from another's."""

from __future__ import annotations

import contextlib
import errno
import inspect
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from imbik.errors import UserError
from imbik.jobs.files import read_json, write_json
from imbik.jobs.fingerprints import key_of

WORK_FOLDER = ".imbik"
"""Where a command keeps unfinished work inside its output folder."""
MODEL_FILES = frozenset(
    {
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
        "README.md",
        "added_tokens.json",
        "chat_template.jinja",
        "config.json",
        "config_sentence_transformers.json",
        "finetune.json",
        "generation_config.json",
        "imbik.json",
        "merges.txt",
        "model.safetensors",
        "modules.json",
        "preprocessor_config.json",
        "sentence_bert_config.json",
        "sentencepiece.bpe.model",
        "special_tokens_map.json",
        "spiece.model",
        "structured.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "trim.json",
        "vocab.json",
        "vocab.txt",
    }
)
"""Names that the files of a model's folder may have."""
_LOCK = "lock"
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}
# Later versions fall back to a marker file where a file system has no locks, and may remove the file on release. A marker outlives a
# killed run, and both are options that earlier versions do not know.
_OPTIONS: dict[str, Any] = {
    name: value
    for name, value in {"fallback_to_soft": False, "preserve_lock_file": True}.items()
    if name in inspect.signature(FileLock.__init__).parameters
}


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
        self.directory, self.root = directory, directory / WORK_FOLDER
        self.key = key_of(arguments)
        self._lock = contextlib.ExitStack()

    def path(self, name: str) -> Path:
        """A folder for one piece of the work."""
        return self.root / self.key / name

    def publish(self, made: Path) -> None:
        """Move the files of ``made``, a folder of this work, into the output folder.

        Raises:
            UserError: one of these names is taken, by a file that no earlier call of the same work moved there.
        """
        names = {path.name for path in made.iterdir()}
        record = read_json(self.path("published.json"))
        moved = {name for name in record["names"] if isinstance(name, str)} if isinstance(record.get("names"), list) else set()
        taken = sorted(name for name in names - moved if os.path.lexists(self.directory / name))
        if taken:
            raise UserError(
                "files were put into the output folder meanwhile; writing the model would delete them",
                where=self.directory,
                found=", ".join(taken),
                fix="move them away and run the same command again: what was finished is kept",
            )
        write_json(self.path("published.json"), {"names": sorted(names | moved)})
        for name in sorted(names):
            (made / name).replace(self.directory / name)

    def __enter__(self) -> Workspace:
        self._lock.enter_context(locked(self.directory))
        if not (self.root / self.key).is_dir():
            self._check_free()
        (self.root / self.key).mkdir(parents=True, exist_ok=True)
        return self

    def _check_free(self) -> None:
        """Check that the folder holds no model yet, and nothing of a model's names."""
        taken = sorted(name for name in MODEL_FILES if os.path.lexists(self.directory / name))
        if "config.json" in taken:
            self._lock.close()
            raise UserError(
                "the output folder holds a model already",
                where=self.directory,
                found="a config.json that is not of this run: of other inputs or settings, or of a model of your own",
                fix="choose another folder with --out",
            )
        if taken:
            self._lock.close()
            raise UserError(
                "the output folder holds files of names that a model's files have; writing it would delete them",
                where=self.directory,
                found=", ".join(taken),
                fix="choose another folder with --out, or move these files away",
            )

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            shutil.rmtree(self.root / self.key, ignore_errors=True)
        self._lock.close()


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold an output folder for one run; made if it is missing.

    The operating system drops the lock when the process ends, so a killed run leaves none behind. The lock's file stays: a file that
    is removed while others wait for it would let two of them in.

    Raises:
        UserError: another run holds it, the folder cannot be written, or its file system has no locks.
    """
    lock = _lock(directory)
    try:
        yield
    finally:
        lock.release()


def _lock(directory: Path) -> BaseFileLock:
    """Make the folder and take its lock."""
    lock = FileLock(directory / WORK_FOLDER / _LOCK, **_OPTIONS)
    try:
        (directory / WORK_FOLDER).mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            "another run is working in this folder", where=directory, fix="wait until it ends, or choose another folder with --out"
        ) from None
    except (FileExistsError, NotADirectoryError):
        raise UserError("the output folder is a file, or lies in one", where=directory, fix="choose another folder with --out") from None
    except (NotImplementedError, OSError) as error:
        if isinstance(error, NotImplementedError) or error.errno in _NO_LOCKS:
            raise UserError(
                "the file system of the output folder has no locks, so two runs could write to it at once",
                where=directory,
                fix="choose a folder on a local disk with --out, and copy it afterwards",
            ) from None
        raise UserError(
            "the output folder cannot be written", where=directory, found=error.strerror, fix="choose a folder that you own with --out"
        ) from None
    return lock


class Clock:
    """Seconds spent inside, summed over the runs that a kill cut a step into (the last cut-off piece is lost)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        known = read_json(path).get("seconds")
        self.total = float(known) if isinstance(known, int | float) else 0.0

    def __enter__(self) -> Clock:
        self.began = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self.total += time.perf_counter() - self.began
        if self.path.parent.is_dir():
            write_json(self.path, {"seconds": self.total})
