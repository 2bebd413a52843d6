"""One damaged file put before its reader, and what must hold of it."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType

from imbik.cli.app import _user_error

from . import damage
from .readers import READERS, Reader

SECONDS = 60
"""A reader that takes longer hangs: every file is small."""


@dataclass(frozen=True)
class Outcome:
    """What a reader did with a damaged file.

    Attributes:
        way: how it was damaged.
        code: exit code; None: none.
        fault: what must not be; empty: all is well.
        said: on standard error.
    """

    way: str
    code: int | None
    fault: str
    said: str


class HangError(BaseException):
    """The time is over; it is no Exception, so that no reader takes it for a fault of the file."""


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise HangError

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def attempt(name: str, seed: int, place: Path) -> Outcome:
    """Damage one file, read it as a user would, and judge what happened.

    Args:
        name: of :data:`fuzz.readers.READERS`.
        seed: decides the damage; negative: none.
        place: a new folder; the files lie deep in it, so that what leaves theirs is seen.
    """
    reader = READERS[name]
    folder = place / "a" / "b" / "work"
    folder.mkdir(parents=True)
    damage.MARK[0] = str(place / "ran")
    reader.make(folder)
    way = _damaged(reader, folder, seed)
    reader.sign(folder / reader.file)
    before = _around(place, folder)
    code, fault, said = _read(reader, folder)
    if (place / "ran").exists():
        fault = "code of the file ran"
    elif _around(place, folder) != before:
        fault = "something was written outside of the folder"
    return Outcome(way, code, fault or _message_fault(code, said), said)


def _damaged(reader: Reader, folder: Path, seed: int) -> str:
    """Damage a reader's file and return how: each way once for the first seeds, then at random; not at all for a negative one."""
    random = Random(seed)
    path, ways = folder / reader.file, damage.KINDS[reader.kind]
    if seed < 0:
        return "none"
    number = (seed if seed < 1000 else random.randrange(10**6)) % (len(damage.PLACES) + len(ways))
    if number < len(damage.PLACES):
        place = damage.PLACES[number]
        outside = folder.parent / "outside"
        outside.mkdir()
        place(path, outside)
        return place.__name__
    way = ways[number - len(damage.PLACES)]
    content = way(path.read_bytes(), random)
    path.write_bytes(damage.noise(b"", random) if content is None else content)
    return way.__name__


def _around(place: Path, folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file outside of the folder."""
    found = {}
    for root, folders, files in os.walk(place):
        folders[:] = [name for name in folders if Path(root) / name != folder]
        for name in files:
            about = (Path(root) / name).lstat()
            found[str(Path(root) / name)] = (about.st_size, about.st_mtime_ns)
    return found


def _read(reader: Reader, folder: Path) -> tuple[int | None, str, str]:
    """Return exit code, fault and standard error."""
    out, err, here = io.StringIO(), io.StringIO(), Path.cwd()
    os.chdir(folder)
    try:
        with _limited(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            reader.read(folder)
        return 0, "", err.getvalue()
    except SystemExit as left:
        return int(left.code or 0), "", err.getvalue()
    except HangError:
        return None, f"it hangs\n{traceback.format_exc()}", err.getvalue()
    except Exception as error:
        mistake = _user_error(error)
        return (2, "", f"error: {mistake}\n") if mistake else (None, traceback.format_exc(), err.getvalue())
    finally:
        os.chdir(here)


def _message_fault(code: int | None, said: str) -> str:
    """Return what is wrong with how a command ended."""
    if code not in (0, 2):
        return f"exit code {code}: {said[-500:]}"
    told = [line for line in said.splitlines() if line.startswith("error: ")]
    if code == 2 and len(told) != 1:
        return f"not one message but {len(told)}: {said[-500:]}"
    return f"a message of {len(said)} letters: {said[:200]}" if code == 2 and len(said) > 5000 else ""
