"""Removing whole layers: which a task misses least, and a shorter model of the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from torch import nn

from imbik.errors import UserError
from imbik.models.anatomy import depth_of
from imbik.models.blocks import depth_setting, layer_stack
from imbik.models.hooks import put_everywhere
from imbik.models.structure import move_layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def removable(model: PreTrainedModel) -> list[int]:
    """Return the numbers of the layers that may be taken away, counted from 0.

    A first layer that is made unlike the others (ModernBERT's has no norm in front) stays, since what stands first is made so.

    Raises:
        UserError: layers that share their weights.
    """
    stack = layer_stack(model)[1]
    if depth_of(model) != len(stack) or len({id(layer) for layer in stack}) < len(stack) or _tied(stack):
        raise UserError(
            "layers that share their weights are not taken away one by one",
            where="prune.layers",
            found=type(model).__name__,
            expected="layers of their own",
            fix="prune before sharing, or leave layers out",
        )
    alike = len(stack) < 2 or stack[0].state_dict().keys() == stack[1].state_dict().keys()
    return list(range(0 if alike else 1, len(stack)))


def _tied(stack: nn.ModuleList) -> bool:
    """Return whether two layers have a parameter in common."""
    owners = [id(parameter) for layer in stack for parameter in layer.parameters()]
    return len(set(owners)) < len(owners)


def keep_layers(model: PreTrainedModel, kept: Sequence[int]) -> None:
    """Leave the layers of these numbers, counted from 0 and ascending; in place."""
    # asked for first: an architecture without such a setting must stay whole
    name, stack = layer_stack(model)
    setting = depth_setting(model.config, "prune.layers")
    put_everywhere(model, name, nn.ModuleList([stack[place] for place in kept]))
    # one entry per layer (such as ModernBERT's full and sliding attention) goes with its layer
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = [model.config.layer_types[place] for place in kept]
    setattr(model.config, setting, len(kept))
    move_layers(model, name, kept)


def least_missed(model: PreTrainedModel, count: int, moved: Callable[[], float]) -> list[int]:
    """Return which ``count`` layers stay when the one that is missed least goes, again and again.

    Args:
        model: comes back as it was.
        count: layers that stay.
        moved: how far the model's answers are, as it is now, from what they were.
    """
    name, stack = layer_stack(model)
    candidates, kept = set(removable(model)), list(range(len(stack)))
    if count < len(stack) - len(candidates) or count < 1:
        raise UserError(
            "not so few layers can stay", where="prune.layers", found=count, expected=f"at least {len(stack) - len(candidates)}"
        )

    # the same layers in a shorter list: nothing is copied for a try
    def without(gone: int) -> float:
        put_everywhere(model, name, nn.ModuleList([stack[place] for place in kept if place != gone]))
        try:
            return moved()
        finally:
            put_everywhere(model, name, stack)

    # one at a time: which layer is missed least depends on those that have gone
    while len(kept) > count:
        kept.remove(min(sorted(candidates & set(kept)), key=without))
    return kept
