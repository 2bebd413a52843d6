"""What a model is fed and what it gives: input names, outputs, attention implementations."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from imbik.images.processor import ImageProcessor
from imbik.images.settings import PIXELS
from imbik.models.hooks import evaluating
from imbik.tasks.outputs import Output

Tensors: TypeAlias = Tensor | Mapping[str, Tensor]
"""What a model gives of a batch: one tensor, or several by name."""

_SHAPE = "imbik_image"


def reads_images(model: object) -> bool:
    """Return whether a transformers model reads images."""
    return getattr(model, "main_input_name", "") == PIXELS


def set_image_shape(model: PreTrainedModel, processor: ImageProcessor) -> None:
    """Keep channels, height and width of what a model reads in its config: few say it."""
    # it travels with the model, so that a folder of it can be looked at without its processor
    setattr(model.config, _SHAPE, [processor.channels, processor.height, processor.width])


def probe_of(model: PreTrainedModel, length: int = 4) -> dict[str, Tensor]:
    """Return one small row that a model can read: tokens without padding, or zeros.

    Args:
        model: of texts, or of images whose shape :func:`set_image_shape` has kept.
        length: tokens.
    """
    device = next(model.parameters()).device
    if reads_images(model):
        return {PIXELS: torch.zeros(1, *getattr(model.config, _SHAPE), device=device)}
    return {"input_ids": torch.arange(1, length + 1, device=device).unsqueeze(0)}


def read_outputs(output: Any, kinds: Sequence[Output]) -> Tensors:
    """Return what a task asks of a transformers model output, in float32.

    The shapes are ``(B, …)``, or ``(B, T, …)`` of what there is for each token.

    Args:
        output: what the model returned.
        kinds: :attr:`imbik.tasks.task.Task.outputs`; a single one is given bare.
    """
    tensors = {kind.name: getattr(output, kind.name).float() for kind in kinds}
    return tensors if len(tensors) > 1 else next(iter(tensors.values()))


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
    """A model as a function of tensors.

    Args:
        model: a transformers model.
        names: its inputs in the order of the tensors.
        outputs: what it gives, in order; a single one is given bare.
    """

    def __init__(self, model: nn.Module, names: Sequence[str], outputs: Sequence[str] = ("logits",)) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(names)
        self.outputs = tuple(outputs)

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        output = self.model(**dict(zip(self.names, tensors, strict=True)))
        found = tuple(getattr(output, name) for name in self.outputs)
        return found if len(found) > 1 else found[0]


def input_names(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """Return which of ``input_ids``, ``attention_mask``, ``token_type_ids`` a model is given.

    One that reads images is given ``pixel_values``.

    Token types are given where the model takes them and either the tokenizer makes them or the
    model tells them apart.
    """
    if reads_images(model):
        return (PIXELS,)
    accepted = inspect.signature(model.forward).parameters
    names = ["input_ids", "attention_mask"]
    # RoBERTa takes token types and has one row for them: it would add the same vector everywhere.
    makes = "token_type_ids" in getattr(tokenizer, "model_input_names", ())
    if "token_type_ids" in accepted and makes and getattr(model.config, "type_vocab_size", 2) > 1:
        names.append("token_type_ids")
    return tuple(names)
