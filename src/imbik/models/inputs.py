"""What a model is fed: input names, logits, attention implementations."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from imbik.models.hooks import evaluating


@contextmanager
def attention_as(model: Any, name: str) -> Iterator[None]:
    before = model.config._attn_implementation
    model.set_attn_implementation(name)
    try:
        with evaluating(model):
            yield
    finally:
        model.set_attn_implementation(before)


class Logits(nn.Module):  # type: ignore[misc]
    """A model as a function of tensors in the order of ``names``."""

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names = model, tuple(names)

    def forward(self, *tensors: torch.Tensor) -> Any:
        return self.model(**dict(zip(self.names, tensors, strict=True))).logits


def input_names(model: Any, tokenizer: Any) -> tuple[str, ...]:
    """Which of ``input_ids``, ``attention_mask``, ``token_type_ids`` the model is to be given.

    Token types are given where the model takes them and either the tokenizer makes them or the model tells
    them apart.
    """
    accepted = inspect.signature(model.forward).parameters
    names = ["input_ids", "attention_mask"]
    makes = "token_type_ids" in getattr(tokenizer, "model_input_names", ())
    if "token_type_ids" in accepted and makes and getattr(model.config, "type_vocab_size", 2) > 1:
        names.append("token_type_ids")
    return tuple(names)
