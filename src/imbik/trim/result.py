"""What trimming gave: pieces, bytes, and what held-back texts say of texts to come."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class HeldBack:
    """Texts that were not counted, cut by both tokenizers.

    Attributes:
        texts: how many.
        tokens: of these texts, by the old tokenizer.
        gone: share of these tokens whose piece is gone.
        touched: share of the texts that have such a token.
        longer: tokens by the new tokenizer over tokens by the old one.
        unknown_before, unknown_after: share of tokens that stand for what is unknown.
    """

    texts: int
    tokens: int
    gone: float
    touched: float
    longer: float
    unknown_before: float
    unknown_after: float


@dataclass(frozen=True)
class Trimmed:
    """A trimmed model.

    Attributes:
        directory: its folder.
        pieces_before, pieces_after: of the vocabulary.
        bytes_before, bytes_after: of weights and tokenizer.
        parameters_before, parameters_after: of the model.
        documents, characters: that were counted.
        held_back: None where no document was held back.
        compared: texts that the model was asked before and after, whose pieces all stay.
        difference: the largest one between the numbers that it gave.
        seconds: of this call.
    """

    directory: Path
    pieces_before: int
    pieces_after: int
    bytes_before: int
    bytes_after: int
    parameters_before: int
    parameters_after: int
    documents: int
    characters: int
    held_back: HeldBack | None
    compared: int
    difference: float
    seconds: float
