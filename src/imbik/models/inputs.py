"""Inputs of a model: their names, a wrapper that takes them in order, the attention used."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import Tensor, nn

from imbik.models.hooks import evaluating

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@contextmanager
def attention_as(model: PreTrainedModel, name: str) -> Iterator[None]:
    """Context manager: let ``model`` compute attention by the implementation ``name``.

    It is in evaluation mode inside; both are put back on leaving.
    """
    # There is no public way to ask for it; set_attn_implementation is the public way to set it.
    before = model.config._attn_implementation
    model.set_attn_implementation(name)
    try:
        with evaluating(model):
            yield
    finally:
        model.set_attn_implementation(before)


class Logits(nn.Module):  # type: ignore[misc]
    """Wrapper that makes a model a function of tensors, in the order of ``names``."""

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(names)

    def forward(self, *tensors: Tensor) -> Tensor:
        logits: Tensor = self.model(**dict(zip(self.names, tensors, strict=True))).logits
        return logits


def input_names(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """Return which of ``input_ids``, ``attention_mask``, ``token_type_ids`` a model is given.

    Token types are given where the model takes them and either the tokenizer makes them or the
    model tells them apart.
    """
    accepted = inspect.signature(model.forward).parameters
    names = ["input_ids", "attention_mask"]
    # RoBERTa takes token types and has one row for them: it would add the same vector everywhere.
    makes = "token_type_ids" in getattr(tokenizer, "model_input_names", ())
    if "token_type_ids" in accepted and makes and getattr(model.config, "type_vocab_size", 2) > 1:
        names.append("token_type_ids")
    return tuple(names)
