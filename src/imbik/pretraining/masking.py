"""Masking: which tokens a masked language model predicts, and its head at those alone.

Tokens are hidden anew for every batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from imbik.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from transformers.modeling_outputs import BaseModelOutput, MaskedLMOutput

IGNORED = -100
"""Label of a token that is not predicted."""


@dataclass(frozen=True)
class Masker:
    """Rule by which BERT hides tokens (Devlin et al. 2019, arXiv 1810.04805, section 3.1).

    Of the chosen ones 80 % become ``[MASK]``, 10 % a random piece, 10 % stay.

    Attributes:
        share: of the tokens that are chosen; one at least in a batch.
        whole_words: choose words, all their pieces together, instead of pieces.
        mask: id of ``[MASK]``.
        fixed: ``(V,)`` bool, ids that are never chosen nor drawn: special tokens.
        inside: ``(V,)`` bool, ids that continue a word.

    >>> from imbik.testing import tiny_tokenizer
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
    def of(cls, tokenizer: PreTrainedTokenizerBase, share: float = 0.15, whole_words: bool = False) -> Masker:
        """Make the masker of a fast tokenizer.

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
        """Hide some of ``ids`` ``(B, T)``, by PyTorch's random numbers.

        Returns the ids to read, and the labels (``IGNORED`` where nothing is predicted), both ``(B,
        T)``.
        """
        fixed = self.fixed.to(ids.device)
        inside = self.inside.to(ids.device)
        free = ~fixed[ids]
        draw = torch.rand(ids.shape, device=ids.device)
        if self.whole_words:
            # (B, T) the number of the word that each piece belongs to: its pieces all take one
            # draw.
            word = ((~inside[ids]).cumsum(1) - 1).clamp_min(0)
            draw = draw.gather(1, word)
        # Draws lie in [0, 1): 2 is never below the share, nor the least.
        draw = draw.masked_fill(~free, 2.0)
        # The least draw is always taken: a batch without a label has no loss.
        chosen = (draw < self.share) | ((draw == draw.min()) & free)
        labels = ids.masked_fill(~chosen, IGNORED)
        # Below 0.8: [MASK]; from 0.9 on: a random piece; between them: as it is.
        fate = torch.rand(ids.shape, device=ids.device)
        ordinary = (~fixed).nonzero().squeeze(1)
        random = ordinary[torch.randint(len(ordinary), ids.shape, device=ids.device)]
        hidden = torch.where(chosen & (fate < 0.8), torch.full_like(ids, self.mask), ids)
        return torch.where(chosen & (fate >= 0.9), random, hidden), labels


def _inside(pieces: list[str]) -> Tensor:
    """Return which pieces continue a word, ``(V,)`` bool.

    ``##x`` of WordPiece, or those without the mark of a word's start (``Ġ``, ``▁``).
    """
    for mark in ("Ġ", "▁"):
        # A byte-level vocabulary has tens of thousands of marked pieces, WordPiece a few symbols at
        # most.
        if sum(piece.startswith(mark) for piece in pieces) > len(pieces) // 10:
            return torch.tensor([not piece.startswith(mark) for piece in pieces])
    return torch.tensor([piece.startswith("##") for piece in pieces])


def masked_output(model: PreTrainedModel, inputs: dict[str, Tensor], where: Tensor, **options: bool) -> MaskedLMOutput:
    """Compute the model's output with ``logits`` at some tokens only.

    ``(M, V)`` of the M tokens where ``where`` ``(B, T)`` is true.

    With a vocabulary of 30,000 the head costs as much as the whole of a small encoder; six of seven
    tokens need none of it.

    Args:
        model: a transformers ``…ForMaskedLM``.
        inputs: what it reads.
        where: the tokens.
        options: ``output_hidden_states`` and the like; hidden states come for all tokens.
    """

    def pick(_module: nn.Module, _inputs: tuple[Any, ...], output: BaseModelOutput) -> BaseModelOutput:
        # (B, T, H) -> (1, M, H): the head takes a batch of one row.
        output.last_hidden_state = output.last_hidden_state[where][None]
        return output

    handle = model.base_model.register_forward_hook(pick)
    try:
        output = model(**inputs, **options)
    finally:
        handle.remove()
    # (1, M, V) -> (M, V)
    output.logits = output.logits[0]
    return output
