"""The Turkish form of what is generated: numbers, rows of tables, and what a measured number looks like on a page ``*.tr.md``.

The words of tables stand in ``pages/words.tr.yaml``, each beside its English cell. Sentences that a generator writes around its table stay
on the English page: a Turkish one takes the rows alone.
"""

from __future__ import annotations

import re
from functools import cache

import yaml

from benchmarks.common import ROOT

WORDS = ROOT / "benchmarks" / "pages" / "words.tr.yaml"
NUMBER = re.compile(
    r"(?<![\w.,/-])(?P<sign>[-+±−]?)(?P<digits>\d[\d,]*(?:\.\d+)?)(?P<percent>\s%)?(?![\w-]|\.\d)|(?P<kept>`[^`]*`|\]\([^)]*\))"
)
UNITS = r"ms|µs|ns|s|sn|(?:saniye|dakika|saat|puan|kat(?!man))\w*|[kMG]B|MiB|GiB|GFLOP/s|dB|x|(?:metin|belirteç|satır|öge)/s|USD"
FIGURE = r"\d[\d.]*(?:,\d+)?"
MEASURED = re.compile(
    rf"(?<![\w.,/-])%\s?[-+±−]?{FIGURE}"
    rf"|(?<![\w.,/%-])[-+±−]?{FIGURE}(?:\s*[–-]\s*{FIGURE})?\s*(?:{UNITS})(?![\w-])"
    r"|(?<![\w.,/%-])[-+±−]?\d[\d.]*,\d+(?![\w-]|,\d)"  # a decimal needs no unit
)
IN_TABLE = re.compile(rf"(?<![\w.,/-])[-+±−%]?{FIGURE}(?![\w-])")


def numbers(text: str) -> str:
    """Return a text with its numbers as Turkish writes them; code and links stay.

    >>> numbers("1,234.5 and 98.0 % of `a-1.5`")
    '1.234,5 and %98,0 of `a-1.5`'
    """

    def written(found: re.Match[str]) -> str:
        if found["kept"]:
            return found["kept"]
        return ("%" if found["percent"] else "") + found["sign"] + found["digits"].translate(str.maketrans(",.", ".,"))

    return NUMBER.sub(written, text)


@cache
def words() -> dict[str, str]:
    """Return the Turkish of every English cell that has one."""
    return yaml.safe_load(WORDS.read_text(encoding="utf-8"))


def cells(line: str) -> list[str]:
    """Return the cells of a row."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def unknown_heads(lines: list[str]) -> list[str]:
    """Return the cells of a table's head that have no Turkish."""
    head = next((line for line in lines if line.startswith("|")), "")
    return [cell for cell in cells(head) if cell and cell not in words()]


def rows(lines: list[str]) -> list[str]:
    """Return the Turkish rows of a table."""
    made = [[words()[cell] if cell in words() else numbers(cell) for cell in cells(line)] for line in lines if line.startswith("|")]
    return [f"| {' | '.join(one)} |" for one in made]


def not_measured(files: str) -> str:
    """Return the line in the place of a table whose files are missing."""
    return f"Henüz ölçülmedi ({files} yok)."
