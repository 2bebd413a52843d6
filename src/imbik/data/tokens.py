"""How a text becomes tokens: one way for training, for artefacts and for the parity gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from imbik.data.excerpts import Excerpt, excerpt, short
from imbik.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer


class Stretched:
    """An encoding of excerpts whose offsets are those of the whole texts.

    Args:
        encoding: of ``tokenizers``.
        excerpts: the one or two texts of its row.

    Attributes:
        ids, type_ids, sequence_ids, overflowing: as an encoding has them.
        offsets: first character of each token and the one behind its last, in the whole texts.
    """

    def __init__(self, encoding: Encoding, excerpts: Sequence[Excerpt]) -> None:
        self.ids, self.type_ids, self.sequence_ids = encoding.ids, encoding.type_ids, encoding.sequence_ids
        self.overflowing = [Stretched(rest, excerpts) for rest in encoding.overflowing]
        self.offsets = [
            # a token ends behind its last character, which may stand in front of a gap
            offset if text is None or offset[0] == offset[1] else (excerpts[text].place(offset[0]), excerpts[text].place(offset[1] - 1) + 1)
            for text, offset in zip(encoding.sequence_ids, encoding.offsets, strict=True)
        ]


def shortened(tokenizer: Tokenizer, row: Any, max_length: int | None, side: str) -> Any:
    """Return a row of excerpts, whose tokens are those of the row; its places are other ones.

    Args:
        tokenizer: set by :func:`imbik.data.windows.cut`.
        row: a text, or a tuple of two; what is no text comes back as it is.
        max_length: tokens of a row; None: all of them are kept, in windows.
        side: where longer texts are cut.
    """
    parts = _excerpts(tokenizer, row, max_length, side)
    return row if parts is None else _like(row, parts)


def encoded_rows(
    tokenizer: Tokenizer, rows: Sequence[Any], numbers: Sequence[int] | range, max_length: int | None, side: str, *, offsets: bool = True
) -> list[Any]:
    """Return what a tokenizer makes of texts, or of pairs of texts; an unpaired surrogate, which no encoding has, is a question mark.

    Args:
        tokenizer: set by :func:`imbik.data.windows.cut`.
        rows: texts, or tuples of two.
        numbers: of the rows, for messages.
        max_length, side: see :func:`shortened`.
        offsets: whether each token's place in its text is needed, which takes longer.

    Raises:
        UserError: a text is not a string.
    """
    excerpts = [_excerpts(tokenizer, row, max_length, side) for row in rows]
    asked = [row if parts is None else _like(row, parts) for row, parts in zip(rows, excerpts, strict=True)]
    encode = tokenizer.encode_batch if offsets else tokenizer.encode_batch_fast
    try:
        found: list[Any] = list(encode(asked))
    # cleaned only where it is needed: the check would cost every ordinary text
    except (TypeError, UnicodeError):
        found = list(encode([cleaned(row, number) for row, number in zip(asked, numbers, strict=True)]))
    if not offsets:
        return found
    return [
        Stretched(one, parts) if parts is not None and any(part.gaps for part in parts) else one
        for one, parts in zip(found, excerpts, strict=True)
    ]


def _excerpts(tokenizer: Tokenizer, row: Any, max_length: int | None, side: str) -> tuple[Excerpt, ...] | None:
    """Return the excerpts of a row; None for a row that is short, or holds what is no text."""
    texts = row if isinstance(row, tuple) else (row,)
    most = short(max_length)
    # a loop of the few: this is asked of every text
    if any(isinstance(text, str) and len(text) > most for text in texts) and all(isinstance(text, str) for text in texts):
        return tuple(excerpt(tokenizer, text, max_length, side) for text in texts)
    return None


def _like(row: Any, parts: tuple[Excerpt, ...]) -> Any:
    """Return the texts of excerpts in the form of a row."""
    return tuple(part.text for part in parts) if isinstance(row, tuple) else parts[0].text


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
