"""Long texts as windows that overlap: how a tokenizer cuts them, the same while a model learns and while it answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer


def cut(tokenizer: Tokenizer, length: int, side: str, overlap: float, *, paired: bool) -> None:
    """Set how a tokenizer shortens texts.

    Args:
        tokenizer: it is changed.
        length: tokens of a row, special ones included.
        side: where a text is cut that is not windowed, ``right`` or ``left``.
        overlap: share of ``length`` that neighboring windows have in common; 0: no windows.
        paired: whether rows have two texts: of a windowed pair the second one is cut, and the first stands in every window.
    """
    if not overlap:
        tokenizer.enable_truncation(length, direction=side, strategy="longest_first")
        return
    special = tokenizer.num_special_tokens_to_add(paired)
    # a window must bring something new: what is shared is less than what a text has room for
    shared = max(0, min(int(length * overlap), (length - special - 1) // 2))
    strategy: Literal["only_second", "longest_first"] = "only_second" if paired else "longest_first"
    tokenizer.enable_truncation(length, stride=shared, strategy=strategy)


def windows_of(encodings: Sequence[Encoding]) -> list[tuple[int, int, Encoding]]:
    """Return every window with the number of its text and its own number in that text."""
    return [
        (row, number, window) for row, encoding in enumerate(encodings) for number, window in enumerate([encoding, *encoding.overflowing])
    ]
