"""The Turkish form of what is generated: numbers, rows of tables, and what a measured number looks like on a page ``*.tr.md``.

The words of tables and of the sentences around them stand in ``pages/words.tr.yaml``: ``{}`` is anything, and is put into ``{0}``, ``{1}``
of the Turkish. A head or a sentence without its Turkish is a fault of the page.
"""

from __future__ import annotations

import re
from functools import cache

import yaml

from benchmarks.common import ROOT

WORDS = ROOT / "benchmarks" / "pages" / "words.tr.yaml"
NUMBER = re.compile(
    r"(?P<kept>`[^`]*`|\]\([^)]*\))"
    r"|(?<![\w.,/-])(?P<sign>[-+±−]?)(?P<digits>\d[\d,]*(?:\.\d+)?)(?P<percent>\s?%)?(?![\d-]|\.\d)"
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
def words() -> dict[re.Pattern[str], str]:
    """Return the Turkish of every English cell or paragraph that has one, by what finds it."""
    return patterns(yaml.safe_load(WORDS.read_text(encoding="utf-8")))


def patterns(written: dict[str, str]) -> dict[re.Pattern[str], str]:
    """Return what finds each English text, whatever stands in the place of its ``{}``."""
    return {re.compile("(.+?)".join(map(re.escape, english.split("{}"))), re.S): text for english, text in written.items()}


def translated(text: str) -> str | None:
    """Return the Turkish of a cell or paragraph, with the parts that stand at its ``{}``; None where it has none."""
    for pattern, turkish in words().items():
        found = pattern.fullmatch(text)
        if found:
            return turkish.format(*(piece(group) for group in found.groups()))
    return None


def piece(text: str) -> str:
    """Return what can be said in Turkish of a cell or of one of its parts: names stay, numbers are written anew."""
    whole = translated(text)
    if whole is None and ", " in text:
        return ", ".join(piece(part) for part in text.split(", "))
    return numbers(text) if whole is None else whole


def cells(line: str) -> list[str]:
    """Return the cells of a row."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def table(lines: list[str]) -> tuple[list[str], list[str]]:
    """Return the Turkish lines of a generated table, and what of its head and of its sentences has no Turkish."""
    made, unknown = [], []
    blocks = re.split(r"\n\n|\n(?=\* |Measured at commit )", "\n".join(lines))
    for block in blocks:
        rows = block.split("\n")
        if block.startswith("|"):
            unknown += [cell for cell in cells(rows[0]) if cell and translated(cell) is None]
            made += [f"| {' | '.join(map(piece, cells(row)))} |" for row in rows] + [""]
        else:
            text = " ".join(row.strip() for row in rows)
            unknown += [] if translated(text) is not None else [text]
            made += [piece(text)] + ([] if block.startswith("* ") else [""])
    return made[:-1] if made[-1] == "" else made, unknown


def not_measured(files: str) -> str:
    """Return the line in the place of a table whose files are missing."""
    return f"Henüz ölçülmedi ({files} yok)."
