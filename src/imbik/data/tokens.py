"""How a text becomes tokens: one way for training, for artefacts and for the parity gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from imbik.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

_CHARACTERS = 16
"""Characters of a text that are looked at first, for each token that is kept."""

_SLACK = 256
"""Tokens behind those that are kept which must be there before the rest of a text is left alone: more than a torn word can change."""


def shortened(tokenizer: Tokenizer, row: Any, max_length: int, side: str) -> Any:
    """Return a row without the far end of a long text, of which no token is kept.

    A tokenizer looks at all of a text before it cuts it, which takes seconds for a text of megabytes. The row's tokens stay the same.

    Args:
        tokenizer: set by :func:`imbik.data.windows.cut`, without windows.
        row: a text, or a tuple of two; what is no text comes back as it is.
        max_length: tokens of a row.
        side: where longer texts are cut.
    """
    size = _CHARACTERS * (max_length + _SLACK)
    if isinstance(row, tuple):
        return tuple(shortened(tokenizer, text, max_length, side) for text in row)
    if not isinstance(row, str) or len(row) <= size:
        return row
    while size < len(row):
        part = _part(row, size, side).encode("utf-8", "replace").decode("utf-8")
        encoding = tokenizer.encode_batch_fast([part], add_special_tokens=False)[0]
        if len(encoding.ids) + sum(len(rest.ids) for rest in encoding.overflowing) >= max_length + _SLACK:
            return part
        size *= 4
    return row


def _part(text: str, size: int, side: str) -> str:
    """Return about ``size`` characters from the end of a text that is kept, torn between words where there are any."""
    if side == "left":
        part = text[-size:]
        spaces = [place for mark in " \n\t" if 0 <= (place := part.find(mark)) < size // 4]
        return part[min(spaces) :] if spaces else part
    spaces = [place for mark in " \n\t" if (place := text.rfind(mark, size - size // 4, size)) > 0]
    return text[: max(spaces)] if spaces else text[:size]


def encoded_rows(tokenizer: Tokenizer, rows: Sequence[Any], numbers: Sequence[int] | range, *, offsets: bool = True) -> list[Any]:
    """Return what a tokenizer makes of texts, or of pairs of texts; an unpaired surrogate, which no encoding has, is a question mark.

    Args:
        tokenizer: set by :func:`imbik.data.windows.cut`.
        rows: texts, or tuples of two.
        numbers: of the rows, for messages.
        offsets: whether each token's place in its text is needed, which takes longer.

    Raises:
        UserError: a text is not a string.
    """
    encode = tokenizer.encode_batch if offsets else tokenizer.encode_batch_fast
    try:
        return list(encode(rows))
    # cleaned only where it is needed: the check would cost every ordinary text
    except (TypeError, UnicodeError):
        return list(encode([cleaned(row, number) for row, number in zip(rows, numbers, strict=True)]))


def cleaned(row: Any, number: int) -> Any:
    """Return a row that tokenizers take: an unpaired surrogate becomes a question mark.

    Raises:
        UserError: a text is not a string.
    """
    cells = row if isinstance(row, tuple) else (row,)
    for cell in cells:
        if not isinstance(cell, str):
            raise not_a_string(cell, number)
    mended = tuple(cell.encode("utf-8", "replace").decode("utf-8") for cell in cells)
    return mended if isinstance(row, tuple) else mended[0]


def not_a_string(value: object, number: int) -> UserError:
    """Return the error of a text that is none."""
    return UserError("a text is not a string", where=f"text {number}", found=f"{type(value).__name__} {value!r}"[:80], expected="str")


def filled(ids: list[int], filling: int) -> list[int]:
    """Return the ids of a text, one of which fills up where the tokenizer gives none.

    A tokenizer without special tokens gives an empty text no tokens, and no model reads a row of none. Such a text is read as one
    token of padding that is not masked, alone and beside others alike.

    >>> filled([], 0), filled([7, 8], 0)
    ([0], [7, 8])
    """
    return ids or [filling]


def places_in(encoding: Encoding) -> tuple[list[int | None], list[tuple[int, int]]]:
    """Return text and offsets of every token of an encoding, where :func:`filled` puts a token: one that stands in no text."""
    return encoding.sequence_ids or [None], encoding.offsets or [(0, 0)]
