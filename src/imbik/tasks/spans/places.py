"""Where the tokens of an encoded text stand in it."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

TEXT, FIRST, LAST, HEAD, WINDOW = range(5)
"""Columns of :func:`places_of`."""


def places_of(
    sequences: Sequence[int | None], offsets: Sequence[tuple[int, int]], texts: Sequence[str], window: int = 0
) -> NDArray[np.int32]:
    """Return where the tokens of an encoding stand, ``(T, 5)``.

    The columns: :data:`TEXT` (0, 1; -1 for a special token), :data:`FIRST` character, :data:`LAST` + 1, :data:`HEAD` (1 where a word
    begins, :func:`begins_word`), :data:`WINDOW` (which part of a long text was encoded). Space around a token is no part of it.

    Args:
        sequences: ``sequence_ids`` of a ``tokenizers`` encoding.
        offsets: its ``offsets``.
        texts: the row's one or two texts.
        window: number of the part.

    >>> places_of([None, 0, 0, None], [(0, 0), (0, 4), (4, 5), (0, 0)], ["banka"]).tolist()
    [[-1, 0, 0, 0, 0], [0, 0, 4, 1, 0], [0, 4, 5, 0, 0], [-1, 0, 0, 0, 0]]
    """
    places = np.zeros((len(offsets), 5), dtype=np.int32)
    before = (-1, 0)
    for row, (sequence, (start, stop)) in enumerate(zip(sequences, offsets, strict=True)):
        if sequence is None:
            places[row] = (-1, 0, 0, 0, window)
            continue
        text = texts[sequence]
        while start < stop and text[stop - 1].isspace():
            stop -= 1
        while start < stop and text[start].isspace():
            start += 1
        if start == stop and before[0] == sequence:  # nothing but space: it ends where the token before it does
            start = stop = before[1]
        # a token of bytes may stand on the same character as the one before
        inside = before[0] == sequence and start < before[1]
        head = start < stop and not inside and begins_word(text, start)
        places[row] = (sequence, start, stop, head, window)
        before = (sequence, max(stop, before[1] if before[0] == sequence else 0))
    return places


def begins_word(text: str, place: int) -> bool:
    """Return whether a word may begin at a place: not between two letters or digits, nor inside of what is drawn as one sign.

    Words are the same for every tokenizer: runs of letters and digits, and every other sign alone.

    >>> [begins_word("U.S. 25'te", place) for place in range(10)]
    [True, True, True, True, True, True, False, True, True, False]
    """
    if place == 0 or text[place - 1].isspace():
        return True
    before, here = text[place - 1], text[place]
    # marks, joiners and skin tones belong to the sign before them
    if unicodedata.category(here) in _JOINED or here in _SKIN or unicodedata.category(before) == "Cf":
        return False
    return not (_of_a_word(before) and here.isalnum())


def end_of_word(text: str, place: int) -> int:
    """Return where a word ends of which characters up to ``place`` are known.

    >>> end_of_word("Ankara'ya", 3)
    6
    """
    while 0 < place < len(text) and not text[place].isspace() and not begins_word(text, place):
        place += 1
    return place


def _of_a_word(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character)[0] == "M"


_JOINED = frozenset({"Mn", "Mc", "Me", "Cf"})
_SKIN = frozenset(map(chr, range(0x1F3FB, 0x1F400)))
