"""Removing heads and units as masks, and as matrices that are really smaller; removing layers."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imbik.errors import UserError
from imbik.jobs.quiet import quiet_transformers
from imbik.models.blocks import Block, blocks_of, layer_stack
from imbik.models.hooks import evaluating, put_everywhere
from imbik.models.layers.sized import SizedLinear
from imbik.models.structure import forget_below, replace_module, structure_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Kept = Mapping[str, NDArray[np.int64]]
"""Writer of a block -> the numbers of the heads or units that stay, ascending."""

_WIDTHS = ("intermediate_size", "hidden_dim")
"""What architectures call the width of their feed-forward networks."""


@contextmanager
def masked(model: nn.Module, blocks: Sequence[Block], masks: Mapping[str, Tensor]) -> Iterator[None]:
    """Context manager: multiply what every head or unit gives by its number in ``masks``, ``(count,)`` by writer.

    0 removes it, without making anything faster.
    """

    def scale(mask: Tensor, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (inputs[0] * mask, *inputs[1:])

    with ExitStack() as hooks:
        for block in blocks:
            if block.writer in masks:
                wide = masks[block.writer].repeat_interleave(block.size)
                hooks.callback(model.get_submodule(block.writer).register_forward_pre_hook(partial(scale, wide)).remove)
        yield


def cut(model: PreTrainedModel, blocks: Sequence[Block], kept: Kept) -> list[Block]:
    """Leave of every block only the heads or units in ``kept``, as smaller matrices; in place. Return the blocks as they are now.

    What is left of the model is a plain transformers model where its config can say so: all feed-forward networks are of one width
    again and no attention has lost a head. Else every smaller matrix is recorded (:mod:`imbik.models.structure`).
    """
    # what keeps everything stays as it is: nothing of it is recorded
    smaller = [block for block in blocks if len(kept[block.writer]) < block.count]
    name = _plain_width(model, blocks, kept)
    for block in smaller:
        for path, new in _matrices(model, block, kept[block.writer]):
            # the config will name this width, so that transformers builds the layer itself
            if block.kind == "units" and name is not None:
                put_everywhere(model, path, _plain(new))
                forget_below(model, path)
            else:
                replace_module(model, path, new)
    if name is not None and smaller:
        setattr(model.config, name, len(next(kept[block.writer] for block in blocks if block.kind == "units")))
    return [replace(block, count=len(kept[block.writer])) for block in blocks]


def _plain_width(model: PreTrainedModel, blocks: Sequence[Block], kept: Kept) -> str | None:
    """Return the config's name for the width that all feed-forward networks will have, None where they differ or something else does."""
    units = [block for block in blocks if block.kind == "units"]
    own = {path for block in units for path in (*block.readers, block.writer)}
    # a change elsewhere inside a layer is rebuilt from its own arguments, whatever the config says
    others = [change["module"] for change in structure_of(model.config) if "layer" in change and change["module"] in own]
    if len({len(kept[block.writer]) for block in units}) != 1 or len(units) != len(layer_stack(model)[1]) or others:
        return None
    name = next((name for name in _WIDTHS if getattr(model.config, name, None) == units[0].count), None)
    return name if name is not None and _decides(model, name, own) else None


def _decides(model: PreTrainedModel, name: str, own: set[str]) -> bool:
    """Return whether a setting of the config decides the widths of the modules in ``own`` and of no others (MobileBERT has more)."""
    shapes = []
    # on the meta device a model has shapes and no numbers, so that building it costs nothing
    for width in (1, 2):
        config = copy.deepcopy(model.config)
        setattr(config, name, width)
        with torch.device("meta"), quiet_transformers():
            plain = type(model)(config)
        shapes.append({key: value.shape for key, value in plain.state_dict().items()})
    return {key.rpartition(".")[0] for key, shape in shapes[0].items() if shapes[1][key] != shape} == own


def _matrices(model: nn.Module, block: Block, kept: NDArray[np.int64]) -> Iterator[tuple[str, SizedLinear]]:
    """Yield the path of every matrix of a block and what is left of it."""
    columns = (torch.from_numpy(kept)[:, None] * block.size + torch.arange(block.size)).flatten()
    whole = block.count * block.size
    # a fused matrix holds its parts one below the other, each with all units
    rows = torch.cat([part * whole + columns for part in range(block.parts)])
    for path in block.readers:
        old = model.get_submodule(path)
        yield path, SizedLinear.of(old.weight[rows], None if old.bias is None else old.bias[rows])
    old = model.get_submodule(block.writer)
    yield block.writer, SizedLinear.of(old.weight[:, columns], old.bias)


def _plain(layer: SizedLinear) -> nn.Linear:
    """Return the same layer as transformers would make it."""
    plain = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
    plain.load_state_dict(layer.state_dict())
    return plain


def prunable(model: PreTrainedModel) -> list[Block]:
    """Return the blocks of a model that may lose heads or units.

    Found out by taking one away, as a mask and as smaller matrices: a kind for which the two differ, or the smaller one does not run,
    is left out, since the architecture's code counts on all of them (DeBERTa's and MPNet's heads). A kind of which every block has one
    left stays.

    Raises:
        UserError: matrices that another method has replaced, or no block at all.
    """
    blocks = blocks_of(model)
    able = [block for kind in ("heads", "units") if _can_lose((own := [one for one in blocks if one.kind == kind]), model) for block in own]
    if not able:
        raise UserError(
            "this architecture has no heads or units that could be taken away",
            where="model",
            found=type(model).__name__,
            expected="layers such as BERT's, DistilBERT's or ModernBERT's, as plain matrices",
            fix="prune before the methods that replace matrices",
        )
    return sorted(able, key=blocks.index)


def _can_lose(blocks: Sequence[Block], model: PreTrainedModel) -> bool:
    """Return whether a model answers the same without the first block's last unit as with that unit masked.

    Blocks of one unit each have none to lose, and nothing of them needs to be known: they count among the costs, with one choice.
    """
    if not blocks or any(type(model.get_submodule(path)) not in (nn.Linear, SizedLinear) for path in _paths(blocks[0])):
        return False
    block = next((one for one in blocks if one.count > 1), None)
    if block is None:
        return True
    # the last one alone: a count that the code keeps anywhere shows with one that is missing
    mask = torch.ones(block.count)
    mask[-1] = 0.0
    old = [(path, model.get_submodule(path)) for path in _paths(block)]
    with evaluating(model), torch.no_grad():
        with masked(model, [block], {block.writer: mask}):
            wanted = _answer(model)
        try:
            for path, new in _matrices(model, block, np.arange(block.count - 1)):
                put_everywhere(model, path, new)
            found = _answer(model)
        except RuntimeError:  # a view of a width that is not there any more
            return False
        finally:
            for path, module in old:
                put_everywhere(model, path, module)
    return bool(torch.allclose(wanted, found, rtol=1e-4, atol=1e-5))


def _paths(block: Block) -> tuple[str, ...]:
    return (*block.readers, block.writer)


def _answer(model: PreTrainedModel) -> Tensor:
    # a mask comes along: some models compute otherwise without one
    ids = torch.arange(1, 9).reshape(1, -1)
    output: Any = model(input_ids=ids, attention_mask=torch.ones_like(ids))
    return next(value for value in output.values() if isinstance(value, Tensor))
