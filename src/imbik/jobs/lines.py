"""A log of JSON lines that survives a kill: what was appended is on disk, and half a line is cut off when it is read again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from imbik.jobs.reading import damage_told

T = TypeVar("T")


def append_line(path: Path, entry: Mapping[str, Any]) -> None:
    """Append one entry; it is on disk when this returns."""
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path, entry: Callable[[Any], T]) -> list[T]:
    """Return the entries of a log in their order, none where there is no file; a line that a kill left half is cut off.

    Args:
        path: the log.
        entry: makes an entry of what a line holds, and raises a ValueError, KeyError or TypeError where that is none.

    Raises:
        UserError: a whole line that imbik did not write so, with its number.
    """
    if not path.is_file():
        return []
    with damage_told("the log cannot be read", path):
        whole = path.read_bytes()
        end = whole.rfind(b"\n") + 1
        if end < len(whole):
            with path.open("r+b") as file:
                file.truncate(end)
    found = []
    # not splitlines(): a text inside an entry may hold what ends a line elsewhere, such as U+2028
    for number, line in enumerate(whole[:end].split(b"\n")[:-1], 1):
        fix = "put it back as it was, or move the file away: what it holds is found out anew"
        with damage_told("a damaged entry in the log", f"{path}, line {number}", expected="a line that imbik wrote", fix=fix):
            found.append(entry(json.loads(line.decode("utf-8"))))
    return found
