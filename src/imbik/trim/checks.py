"""That a trimmed model is the old one where it can be, and how far texts to come are from there."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from imbik.errors import UserError
from imbik.models.inputs import input_names
from imbik.trim.result import HeldBack
from imbik.trim.usage import in_chunks

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_AT_ONCE = 1 << 18
"""Characters of held-back texts that both tokenizers cut at once."""

_TOKENS = 64
"""Tokens of a text that the model is asked; with a masked language model each has as many numbers as there are pieces."""


def whole(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """Return a copy of the tokenizer behind transformers' that neither cuts nor pads."""
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    return backend


def covered(texts: Sequence[str], backend: Tokenizer, kept: set[int], most: int = 8) -> list[str]:
    """Return the first texts that have pieces, all of them kept; behind the texts single letters are tried."""
    found = []
    for text in (*texts, *string.ascii_letters):
        ids = backend.encode(text).ids
        if ids and kept.issuperset(ids):
            found.append(text)
    return found[:most]


@torch.no_grad()
def numbers(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], rows: Sequence[int] | None) -> NDArray[Any]:
    """Return every number that a model gives of some texts, ``(M,)``; of an output for each piece, those of ``rows``.

    Args:
        model: in evaluation mode.
        tokenizer: its own.
        texts: each is asked alone.
        rows: old ids of the pieces that stay, for the old model; None for the new one.
    """
    names, backend = input_names(model, tokenizer), whole(tokenizer)
    backend.enable_truncation(min(_TOKENS, tokenizer.model_max_length))
    out = []
    for text in texts:
        encoding = backend.encode(text)
        given = {"input_ids": encoding.ids, "attention_mask": encoding.attention_mask, "token_type_ids": encoding.type_ids}
        for tensor in model(**{name: torch.tensor([given[name]]) for name in names}).to_tuple():
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                of_pieces = rows is not None and tensor.ndim == 3 and tensor.shape[-1] == model.config.vocab_size
                out.append((tensor[..., list(rows or ())] if of_pieces else tensor).float().numpy().ravel())
    return np.concatenate([np.zeros(0, np.float32), *out])


def held_back_share(texts: Sequence[str], old: Tokenizer, new: Tokenizer, ids: Sequence[int], unknown: Sequence[int | None]) -> HeldBack:
    """Compare how two tokenizers cut texts.

    Args:
        texts: that were not counted.
        old, new: the tokenizers.
        ids: the old id of every new one.
        unknown: the id for what is unknown, of the old and of the new one.

    Raises:
        UserError: a text whose pieces are all kept is cut otherwise.
    """
    place = np.full(old.get_vocab_size() + 1, -1, np.int64)
    place[np.asarray(ids)[np.asarray(ids) < len(place)]] = np.flatnonzero(np.asarray(ids) < len(place))
    tokens = after = gone = touched = 0
    lost = [0, 0]
    for some in in_chunks(texts, _AT_ONCE):
        pairs = zip(*(one.encode_batch_fast(some, add_special_tokens=False) for one in (old, new)), strict=True)
        for text, (before, now) in zip(some, pairs, strict=True):
            moved = place[np.asarray(before.ids, np.int64)]
            missing = int((moved < 0).sum())
            if not missing and moved.tolist() != now.ids:
                _refuse(text)
            tokens, after, gone, touched = tokens + len(moved), after + len(now.ids), gone + missing, touched + (missing > 0)
            lost = [count + cut.ids.count(token) for count, cut, token in zip(lost, (before, now), unknown, strict=True)]
    least = max(tokens, 1)
    return HeldBack(len(texts), tokens, gone / least, touched / max(len(texts), 1), after / least, lost[0] / least, lost[1] / max(after, 1))


def _refuse(text: str) -> None:
    raise UserError(
        "the tokenizer cuts a text otherwise though all of its pieces are kept",
        where="vocabulary",
        found=text[:80],
        expected="a tokenizer whose pieces can be taken away one by one",
        fix="leave the vocabulary as it is",
    )
