"""Long texts as windows that overlap: how a tokenizer cuts them, the same while a model learns and while it answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from imbik.data.excerpts import excerpt
from imbik.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer


def cut(tokenizer: Tokenizer, length: int, side: str, overlap: float, *, paired: bool) -> None:
    """Set how a tokenizer shortens texts; it pads none.

    Args:
        tokenizer: it is changed.
        length: tokens of a row, special ones included.
        side: where a text is cut that is not windowed, ``right`` or ``left``.
        overlap: share of ``length`` that neighboring windows have in common; 0: no windows.
        paired: whether rows have two texts: of a windowed pair the second one is cut, and the first stands in every window; of
            another pair the longer one is cut first, a token at a time.

    Raises:
        UserError: special tokens alone fill the length, and tokenizers would cut nothing then.
    """
    special = tokenizer.num_special_tokens_to_add(paired)
    if length <= special + paired:
        kind = "pairs of texts" if paired else "texts"
        expected = f"at least {special + 1 + paired}"
        raise UserError(f"{kind} cannot be cut to so few tokens", where="max_length", found=length, expected=expected)
    tokenizer.no_padding()
    if not overlap:
        tokenizer.enable_truncation(length, direction=side, strategy="longest_first")
        return
    # a window must bring something new: what is shared is less than what a text has room for, beside
    # the longest first text that `fitting` lets through
    shared = max(0, min(int(length * overlap), length - special - length // 2 - 1))
    strategy: Literal["only_second", "longest_first"] = "only_second" if paired else "longest_first"
    tokenizer.enable_truncation(length, stride=shared, strategy=strategy)


def fitting(tokenizer: Tokenizer, rows: Sequence[tuple[str, ...]], length: int) -> list[tuple[str, ...]]:
    """Return pairs whose first texts take at most half of a window: longer ones are shortened, which no tokenizer does by itself.

    Args:
        tokenizer: as :func:`cut` set it.
        rows: pairs of texts.
        length: tokens of a window.
    """
    most = length // 2
    firsts = [excerpt(tokenizer, row[0], None, "right").text for row in rows]
    try:
        sizes = [len(encoding.ids) for encoding in tokenizer.encode_batch_fast(firsts, add_special_tokens=False)]
    except (TypeError, UnicodeError):
        raise
    except Exception:  # of the tokenizer, which cannot cut a single text where the second of two is to be cut
        sizes = [length + 1] * len(rows)
    return [row if size <= most else (_shortened(tokenizer, row[0], most), *row[1:]) for row, size in zip(rows, sizes, strict=True)]


def _shortened(tokenizer: Tokenizer, text: str, most: int) -> str:
    """Return the beginning of a text that has at most so many tokens."""
    while text:
        try:
            encoding = tokenizer.encode(text, add_special_tokens=False)
        except Exception:
            text = text[: len(text) // 2]
            continue
        if len(encoding.ids) <= most:
            break
        text = text[: min(encoding.offsets[most][0], len(text) - 1)]
    return text


def windows_of(encodings: Sequence[Encoding]) -> list[tuple[int, int, Encoding]]:
    """Return every window with the number of its text and its own number in that text."""
    return [
        (row, number, window) for row, encoding in enumerate(encodings) for number, window in enumerate([encoding, *encoding.overflowing])
    ]
