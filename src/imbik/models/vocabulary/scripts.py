"""Which script a character belongs to, so that the letters of a language stay together."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

LEAST = 1e-3
"""A script is one of a text's own if it has at least this share of its letters: a quoted Greek word makes no Greek text."""


def script_of(character: str) -> str:
    """Return the script of a character; empty for what all scripts share.

    It is the first word of the Unicode name.

    >>> [script_of(letter) for letter in "ığЖ中٣3,"]
    ['LATIN', 'LATIN', 'CYRILLIC', 'CJK', 'ARABIC', '', '']
    """
    kind = unicodedata.category(character)[0]
    name = unicodedata.name(character, "")
    shared = kind in "PSZ" or name.startswith(("DIGIT ", "COMBINING "))
    # a character without a name (private use, a control) is of no script that a text can have
    return "" if shared else (name.replace("-", " ").split() or ["UNNAMED"])[0]


def scripts_of(pieces: Mapping[str, int], counts: NDArray[np.int64], least: float = LEAST) -> set[str]:
    """Return the scripts of the texts in which each piece occurs so often.

    Args:
        pieces: piece -> id.
        counts: occurrences of each id.
        least: share of the letters that a script must have.

    >>> sorted(scripts_of({"kart": 0, "Ж": 1, ",": 2}, np.array([999, 1, 50])))
    ['LATIN']
    """
    letters: dict[str, int] = {}
    for piece, index in pieces.items():
        if counts[index]:
            for character in piece:
                if character.isalpha():
                    script = script_of(character)
                    letters[script] = letters.get(script, 0) + int(counts[index])
    total = sum(letters.values())
    return {script for script, count in letters.items() if count >= least * total}


def letters_of(pieces: Iterable[str]) -> set[str]:
    """Return every character of some pieces."""
    return {character for piece in pieces for character in piece}
