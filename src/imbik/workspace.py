"""A private folder inside an output folder that holds unfinished work, and tells one run's work from another's."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from imbik.errors import UserError

NAME = ".imbik"


class Workspace:
    """Unfinished work of one command in ``directory/.imbik``.

    Args:
        directory: the output folder; made if it is missing.
        arguments: what the work depends on (JSON-able). Work under other arguments is kept apart by their hash.

    Raises:
        UserError: the folder cannot be written.
    """

    def __init__(self, directory: Path, arguments: dict[str, Any]) -> None:
        self.root = directory / NAME
        self.key = key_of(arguments)
        writable(directory)
        (self.root / self.key).mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        """A folder for one piece of the work."""
        return self.root / self.key / name

    def close(self) -> None:
        """The work is finished: remove what only served to continue it."""
        shutil.rmtree(self.root / self.key, ignore_errors=True)
        if self.root.is_dir() and not any(self.root.iterdir()):
            self.root.rmdir()


def key_of(arguments: dict[str, Any]) -> str:
    """A short hash of JSON-able arguments, the same in every process."""
    return hashlib.sha256(json.dumps(arguments, sort_keys=True, default=str).encode()).hexdigest()[:24]


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
