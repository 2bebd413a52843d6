"""Masked language modeling: which tokens are hidden, anew for every batch, and the head computed where it is needed only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from imbik.errors import UserError

IGNORED = -100
"""Label of a token that is not predicted."""


@dataclass(frozen=True)
class Masker:
    """Hides tokens as BERT does (arXiv 1810.04805, 3.1): of the chosen ones 80 % become ``[MASK]``, 10 % a random piece, 10 % stay.

    Attributes:
        share: of the tokens that are chosen; one at least in a batch.
        whole_words: choose words, all their pieces together, instead of pieces.
        mask: id of ``[MASK]``.
        fixed: ``(V,)`` bool, ids that are never chosen nor drawn: special tokens.
        inside: ``(V,)`` bool, ids that continue a word.

    >>> from imbik.testing.contract import tiny_tokenizer
    >>> tokenizer = tiny_tokenizer()
    >>> ids = torch.tensor([tokenizer("please send my new card now")["input_ids"]])
    >>> hidden, labels = Masker.of(tokenizer, share=0.5)(ids)
    >>> torch.equal(torch.where(labels == IGNORED, hidden, labels), ids)
    True
    """

    share: float
    whole_words: bool
    mask: int
    fixed: Tensor
    inside: Tensor

    @classmethod
    def of(cls, tokenizer: Any, share: float = 0.15, whole_words: bool = False) -> Masker:
        """The masker of a fast tokenizer.

        Raises:
            UserError: the tokenizer has no mask token.
        """
        if tokenizer.mask_token_id is None:
            raise UserError("the tokenizer has no mask token", where="tokenizer", expected="an encoder's tokenizer, such as BERT's")
        pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        fixed = torch.zeros(len(pieces), dtype=torch.bool)
        fixed[[i for i in tokenizer.all_special_ids if i < len(pieces)]] = True
        return cls(share, whole_words, int(tokenizer.mask_token_id), fixed, _inside(pieces) & ~fixed)

    def __call__(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Hide some of ``ids`` ``(B, T)`` by PyTorch's random numbers: the ids to read, and the labels (``IGNORED`` elsewhere)."""
        fixed, inside = self.fixed.to(ids.device), self.inside.to(ids.device)
        free = ~fixed[ids]
        draw = torch.rand(ids.shape, device=ids.device)
        if self.whole_words:
            word = ((~inside[ids]).cumsum(1) - 1).clamp_min(0)
            draw = draw.gather(1, word)
        draw = draw.masked_fill(~free, 2.0)
        chosen = (draw < self.share) | ((draw == draw.min()) & free)
        labels = ids.masked_fill(~chosen, IGNORED)
        fate = torch.rand(ids.shape, device=ids.device)
        ordinary = (~fixed).nonzero().squeeze(1)
        random = ordinary[torch.randint(len(ordinary), ids.shape, device=ids.device)]
        hidden = torch.where(chosen & (fate < 0.8), torch.full_like(ids, self.mask), ids)
        return torch.where(chosen & (fate >= 0.9), random, hidden), labels


def _inside(pieces: list[str]) -> Tensor:
    """Which pieces continue a word: ``##x`` of WordPiece, or those without the mark of a word's start (``Ġ``, ``▁``)."""
    for mark in ("Ġ", "▁"):
        if sum(piece.startswith(mark) for piece in pieces) > len(pieces) // 10:
            return torch.tensor([not piece.startswith(mark) for piece in pieces])
    return torch.tensor([piece.startswith("##") for piece in pieces])


def masked_output(model: Any, inputs: dict[str, Tensor], where: Tensor, **options: Any) -> Any:
    """The model's output with ``logits`` ``(M, V)`` of the M tokens where ``where`` ``(B, T)`` is true, and no others.

    With a vocabulary of 30,000 the head costs as much as the whole of a small encoder; six of seven tokens need none of it.

    Args:
        model: a transformers ``…ForMaskedLM``.
        inputs: what it reads.
        where: the tokens.
        options: ``output_hidden_states`` and the like; hidden states come for all tokens.
    """

    def pick(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state[where][None]
        return output

    handle = model.base_model.register_forward_hook(pick)
    try:
        output = model(**inputs, **options)
    finally:
        handle.remove()
    output.logits = output.logits[0]
    return output
