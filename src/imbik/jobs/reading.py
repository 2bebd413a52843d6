"""Files that may be anything: whatever goes wrong while one is read becomes one message that names it."""

from __future__ import annotations

import codecs
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imbik.errors import UserError, shorten

_FAULTS = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
    RecursionError,
    MemoryError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What parsers, and code that walks through what they found, raise on a file of another kind."""


@contextmanager
def damage_told(
    what: str, where: object, *, expected: object = None, fix: str | None = None, faults: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Turn what goes wrong while a file is read into one message: a context for reading alone, never for work with what was read.

    Args:
        what: the problem in a few words.
        where: the file.
        expected: what should stand in it.
        fix: what to do.
        faults: kinds of errors that the reading library has of its own.

    Raises:
        UserError: instead of such an error; one that is raised inside stays as it is.

    >>> with damage_told("no list of numbers", "a.txt"):
    ...     int("x")
    Traceback (most recent call last):
    imbik.errors.UserError: a.txt: no list of numbers. Found: "ValueError: invalid literal for int() with base 10: 'x'".
    """
    kinds: tuple[type[Exception], ...] = (*_FAULTS, *faults)
    try:
        yield
    except UserError:
        raise
    except kinds as error:
        # a system's own words name the file again
        said = (error.strerror or error) if isinstance(error, OSError) else error
        found = shorten(f"{type(error).__name__}: {said}", 160)
        raise UserError(what, where=where, found=found, expected=expected, fix=fix) from None


def read_text(path: Path, what: str, *, expected: object = None, fix: str | None = None) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 with a byte-order mark, which PowerShell's ``>`` writes.

    Args:
        path: the file.
        what: what messages call it: ``recipe file``.
        expected: what should stand in it.
        fix: what to do where there is none.

    Raises:
        UserError: there is no such file, it cannot be read, or it is in another encoding.
    """
    if not path.is_file():
        found = "a folder" if path.is_dir() else "a link that leads nowhere" if path.is_symlink() else None
        raise UserError(f"no such {what}", where=path, found=found, expected=expected, fix=fix)
    with damage_told(f"the {what} cannot be read", path, expected=expected):
        try:
            raw = path.read_bytes()
            text = raw.decode("utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")
            return text.replace("\r\n", "\n").replace("\r", "\n")
        except UnicodeDecodeError:
            fix = "save it as UTF-8 (in PowerShell: Out-File -Encoding utf8)"
            raise UserError("not UTF-8 text", where=path, expected="text in UTF-8", fix=fix) from None
