"""Which separator a table of text has, and where its header stands: judged by its first lines."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from imbik.data.formats.text import bare_suffix, decoding_error, open_text
from imbik.types import Say

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_DECLARED = re.compile('\ufeff?"?sep=(.)"?[,;\t]*\r?\n?', re.IGNORECASE)
_TYPED = re.compile('\ufeff?"?#TYPE [\\w.+`]+"?[,;\t]*\r?\n?')
_LINES, _LONGEST = 60, 1 << 20  # lines, and characters of a line, that are looked at


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written.

    Attributes:
        delimiter: between fields.
        skipped: lines before the header.
    """

    delimiter: str
    skipped: int = 0


def dialect_of(path: Path, encoding: str, say: Say) -> Dialect:
    """Return a file's dialect: what Excel's first line ``sep=;`` says, else a tab for .tsv and the comma for others, unless the
    first lines fall into equal rows at another separator only; what is not usual is said.

    Raises:
        UserError: a byte that the encoding does not have.
    """
    lines = _first_lines(path, encoding)
    declared = declared_separator(lines[0]) if lines else None
    if declared:
        say(f"{path.name}: its first line says that columns are separated by {_SEPARATORS.get(declared, repr(declared))}")
        return Dialect(declared, 1)
    skipped = 0
    if lines and names_type(lines[0]):
        say(f"{path.name}: its first line, in which PowerShell names a type, is left out")
        lines, skipped = lines[1:], 1
    usual = "\t" if bare_suffix(path) == ".tsv" else ","
    header = next((line for line in lines if line.strip(" ,;|\t\r\n\"'")), "")
    others = [separator for separator in _SEPARATORS if separator != usual and separator in header]
    even = [separator for separator in others if _is_even(lines, separator)]
    if usual in header and (len(even) != 1 or _is_even(lines, usual)):
        return Dialect(usual, skipped)
    chosen = (even or others or [usual])[0]
    if chosen != usual:
        missing = "comma" if usual == "," else "tab"
        why = f"no {missing} in the header" if usual not in header else f"rows of one width at this separator, and not at the {missing}"
        say(f"{path.name}: {why}; columns are separated by {_SEPARATORS[chosen]}")
    return Dialect(chosen, skipped)


def declared_separator(line: str) -> str | None:
    """Return the separator that a first line names as Excel writes it, None where it is another line.

    >>> declared_separator("sep=;"), declared_separator("user;item")
    (';', None)
    """
    declared = _DECLARED.fullmatch(line)
    return declared[1] if declared else None


def names_type(line: str) -> bool:
    """Return whether a first line names the type of the rows, as PowerShell's ``Export-Csv`` does.

    >>> names_type("#TYPE System.Management.Automation.PSCustomObject"), names_type("#TYPE,text")
    (True, False)
    """
    return _TYPED.fullmatch(line) is not None


def _first_lines(path: Path, encoding: str) -> list[str]:
    with open_text(path, encoding, newline="") as file:
        try:
            lines = [file.readline(_LONGEST) for _ in range(_LINES)]
        except UnicodeError as error:
            raise decoding_error(path, encoding) from error
    return [line for line in lines if line]


def _is_even(lines: list[str], separator: str) -> bool:
    """Return whether lines fall into rows of one width, of two fields at least; empty fields at the end do not count."""
    try:
        # the last row may be cut
        rows = list(islice(csv.reader(lines, delimiter=separator), len(lines)))[: _LINES - 1]
    except csv.Error:
        return False
    widths = {len(row) for row in rows if any(cell.strip() for cell in row)}
    return len(widths) == 1 and widths.pop() > 1
