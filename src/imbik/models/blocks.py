"""Blocks of an encoder: its stack of layers, what their matrices are called, and the heads and units that a layer has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torch import nn

from imbik.errors import UserError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

ROLES = {
    "query": ("query", "q_lin", "q_proj", "query_proj", "attn.q"),
    "key": ("key", "k_lin", "k_proj", "key_proj", "attn.k"),
    "value": ("value", "v_lin", "v_proj", "value_proj", "attn.v"),
    "qkv": ("attn.Wqkv",),
    "out": ("attention.output.dense", "out_lin", "attention.dense", "attn.o", "attn.Wo"),
    "up": ("intermediate.dense", "ffn.lin1", "ffn"),
    "gated": ("mlp.Wi",),
    "down": ("output.dense", "ffn.lin2", "ffn_output", "mlp.Wo"),
}
"""What the matrices of a layer are called in the architectures of transformers; ``qkv`` is the first three in one, ``gated`` an ``up``
with the gate of every unit behind."""


def layer_stack(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """Find the encoder's layers: the ModuleList of one class that holds most parameters.

    Returns its name and the module.

    Raises:
        UserError: the model has no stack of like layers.
    """
    # By size, since a model may hold other lists of like modules: embeddings per feature, adapters.
    best: tuple[int, str, nn.ModuleList] | None = None
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len({type(layer) for layer in module}) == 1:
            # Shared layers count once: parameters() gives each parameter once.
            size = sum(p.numel() for p in module.parameters())
            if best is None or size > best[0]:
                best = (size, name, module)
    if best is None:
        raise UserError("the model has no stack of like layers", where=type(model).__name__, expected="an encoder such as BERT")
    return best[1], best[2]


_DEPTHS = ("num_hidden_layers", "n_layers", "num_layers")


def depth_setting(config: PretrainedConfig, where: str) -> str:
    """Return what an architecture's config calls its depth.

    Raises:
        UserError: it has no such setting.
    """
    name = next((name for name in _DEPTHS if name in config.to_dict()), None)
    if name is None:
        raise UserError("this architecture has no setting for its depth", where=where, found=config.model_type)
    return name


def roles_of(layer: nn.Module) -> dict[str, tuple[str, nn.Module]]:
    """Return name and module of a layer's matrices, by role.

    A role is missing where the names say nothing.

    A module with a matrix of its own inside is none: ALBERT's ``ffn`` is a matrix, DistilBERT's
    holds two.
    """
    # A block that holds the matrix has a telling name too: only the innermost module is the matrix.
    named = [(name, _role(name), module) for name, module in layer.named_modules()]
    roles: dict[str, tuple[str, nn.Module]] = {}
    for name, role, module in named:
        if role and role not in roles and not any(inner and other.startswith(name + ".") for other, inner, _ in named):
            roles[role] = (name, module)
    return roles


def _role(name: str) -> str | None:
    """Return the role of a module by its name, None where the name says nothing."""
    return next((role for role, names in ROLES.items() if any(name == n or name.endswith("." + n) for n in names)), None)


def head_size(model: PreTrainedModel) -> int:
    """Return how many numbers one attention head has.

    >>> from imbik.testing.contract import tiny_bert
    >>> head_size(tiny_bert(hidden=32, heads=2).model)
    16
    """
    # What the attention itself computes with: hidden size by heads is not it in MobileBERT's narrow attention.
    sizes = (getattr(module, name, None) for module in model.modules() for name in ("attention_head_size", "head_dim"))
    return int(next((size for size in sizes if isinstance(size, int)), model.config.hidden_size // model.config.num_attention_heads))


Kind = Literal["heads", "units"]


@dataclass(frozen=True)
class Block:
    """Attention or feed-forward network of one layer, as units side by side that write into the layer's sum.

    Head and feed-forward unit are the same thing: rows of the matrices that read the layer's input, and columns of the one that
    writes; a head has ``size`` rows, a unit one.

    Attributes:
        kind: ``heads`` or ``units``.
        layer: place in the stack, of a shared one the first.
        count: how many heads or units there are.
        size: numbers that one gives the writer.
        parts: how many runs of ``count * size`` rows every reader has: 3 where query, key and value are one matrix, 2 where gates
            stand behind the units.
        readers: paths of the matrices whose rows belong to units.
        writer: path of the matrix whose columns do.
    """

    kind: Kind
    layer: int
    count: int
    size: int
    parts: int
    readers: tuple[str, ...]
    writer: str


_READERS: dict[Kind, tuple[tuple[tuple[str, ...], int], ...]] = {
    "heads": ((("query", "key", "value"), 1), (("qkv",), 3)),
    "units": ((("up",), 1), (("gated",), 2)),
}
_WRITER: dict[Kind, str] = {"heads": "out", "units": "down"}


def blocks_of(model: PreTrainedModel) -> list[Block]:
    """Return the blocks of every layer in the order in which they run.

    One that layers share stands there once. A block whose matrices have other names or widths than are known is left out.

    >>> from imbik.testing.contract import tiny_bert
    >>> [(block.kind, block.count, block.size) for block in blocks_of(tiny_bert(layers=1).model)]
    [('heads', 2, 16), ('units', 64, 1)]
    """
    stack_name, stack = layer_stack(model)
    size, seen, found = head_size(model), set[int](), []
    for place, layer in enumerate(stack):
        for block, writer in _blocks(layer, f"{stack_name}.{place}", place, size):
            if id(writer) not in seen:
                seen.add(id(writer))
                found.append(block)
    return found


def _blocks(layer: nn.Module, path: str, place: int, size: int) -> Iterator[tuple[Block, nn.Module]]:
    """Return the blocks of a layer with their writers."""
    roles = roles_of(layer)
    for kind, forms in _READERS.items():
        if _WRITER[kind] not in roles:
            continue
        name, writer = roles[_WRITER[kind]]
        width = getattr(writer, "in_features", 0)
        one = size if kind == "heads" else 1
        for readers, parts in forms:
            if any(role not in roles or getattr(roles[role][1], "out_features", 0) != parts * width for role in readers) or width % one:
                continue
            paths = tuple(f"{path}.{roles[role][0]}" for role in readers)
            yield Block(kind, place, width // one, one, parts, paths, f"{path}.{name}"), writer
            break
