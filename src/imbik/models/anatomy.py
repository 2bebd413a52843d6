"""Anatomy of a Transformer: where its intermediate states come out.

Found by running the model once on four tokens, so that shared layers, fused matrices and swapped-in
modules are read as they run and not as their names promise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from imbik.errors import UserError
from imbik.models.blocks import head_size, layer_stack, roles_of
from imbik.models.hooks import Tap, capture, evaluating
from imbik.models.inputs import probe_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class LayerTaps:
    """Places where one layer is read.

    Query, key and value are missing where the architecture keeps them under names unknown here.
    """

    input: Tap
    output: Tap
    query: Tap | None = None
    key: Tap | None = None
    value: Tap | None = None


@dataclass(frozen=True)
class Anatomy:
    """Names of a Transformer's states, and where each is read.

    ``embeddings``: what the first layer takes, ``(B, T, H)``. ``hidden.i``: what layer i gives,
    ``(B, T, H)``. ``query.i``, ``key.i``, ``value.i``: ``(B, T, H)``, all heads side by side.
    ``scores.i``: q·kᵀ/√d of each head before mask and softmax, ``(B, A, T, T)``; in architectures
    with relative or rotary positions this is the content part alone. ``logits``: what the model
    gives. Layers count from 0; ``hidden.-1`` is the last.

    Attributes:
        model: class name, for messages.
        layers: one entry per layer that runs.
        head_size: numbers of one head; a layer has as many heads as its queries are wide.
    """

    model: str
    layers: tuple[LayerTaps, ...]
    head_size: int

    def taps(self, name: str) -> tuple[Tap, ...]:
        """Return where the state ``name`` is read.

        Raises:
            UserError: no such state.
        """
        kind, _, number = name.partition(".")
        if name == "logits":
            return (Tap(""),)
        if name == "embeddings":
            return (self.layers[0].input,)
        layer = self._layer(name, number)
        parts = {"hidden": ("output",), "scores": ("query", "key")}.get(kind, (kind,))
        taps = tuple(tap for part in parts if isinstance(tap := getattr(layer, part, None), Tap))
        if kind not in ("hidden", "scores", "query", "key", "value") or len(taps) < len(parts):
            raise UserError("no such state", where=self.model, found=name, expected=", ".join(self.names()))
        return taps

    def read(self, name: str, captured: Mapping[Tap, Tensor]) -> Tensor:
        """Return the state ``name``, computed from what its taps gave.

        Raises:
            UserError: a tap gave nothing in this forward pass.
        """
        taps = self.taps(name)
        missing = [tap.path for tap in taps if tap not in captured]
        if missing:
            raise UserError("a module did not run", where=self.model, found=", ".join(missing))
        # (B, T, H) twice -> (B, A, T, T)
        if name.startswith("scores."):
            return attention_scores(captured[taps[0]], captured[taps[1]], captured[taps[0]].shape[-1] // self.head_size)
        return captured[taps[0]]

    def names(self) -> list[str]:
        """List all states that can be read, for messages."""
        kinds = ["hidden", *(k for k in ("query", "key", "value") if getattr(self.layers[0], k) is not None)]
        kinds += ["scores"] if "query" in kinds else []
        last = len(self.layers) - 1
        return ["embeddings", *(f"{kind}.0 … {kind}.{last}" if last else f"{kind}.0" for kind in kinds), "logits"]

    def _layer(self, name: str, number: str) -> LayerTaps:
        """Return the taps of layer ``number``, counted from the end where negative."""
        try:
            return self.layers[int(number)]
        except (ValueError, IndexError):
            raise UserError("no such state", where=self.model, found=name, expected=", ".join(self.names())) from None


def attention_scores(query: Tensor, key: Tensor, heads: int) -> Tensor:
    """Compute q·kᵀ/√d of each head, ``(B, A, T, T)``, from ``(B, T, A·d)``.

    >>> attention_scores(torch.ones(1, 2, 4), torch.ones(1, 2, 4), 2).shape
    torch.Size([1, 2, 2, 2])
    """
    # (B, T, A·d) -> (B, T, A, d) -> (B, A, T, d); in float32 even where the model runs in bf16.
    split = [x.float().unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key)]
    return split[0] @ split[1].transpose(-1, -2) / math.sqrt(split[0].shape[-1])


def anatomy(model: PreTrainedModel) -> Anatomy:
    """Find out how to read a transformers encoder.

    Args:
        model: any transformers model whose layers :func:`imbik.models.blocks.layer_stack` finds;
            it is run once on four tokens.

    Raises:
        UserError: no stack of like layers.
    """
    stack_name, stack = layer_stack(model)
    size = head_size(model)
    # Backwards, so that a layer that stands in several places keeps the path of the first one.
    paths = {id(layer): f"{stack_name}.{index}" for index, layer in reversed(list(enumerate(stack)))}
    # (role or "layer", path) in the order in which modules run.
    events: list[tuple[str, str]] = []
    with torch.no_grad(), ExitStack() as hooks:
        for layer in {id(layer): layer for layer in stack}.values():
            path = paths[id(layer)]
            hooks.callback(layer.register_forward_pre_hook(partial(_note, events, "layer", path)).remove)
            for role, (name, module) in roles_of(layer).items():
                hooks.callback(module.register_forward_pre_hook(partial(_note, events, role, f"{path}.{name}")).remove)
        hooks.enter_context(evaluating(model))
        # No mask: transformers reads its values, which a model on the meta device does not have.
        model(**probe_of(model))
    return Anatomy(type(model).__name__, tuple(_layers(events)), size)


def depth_of(model: PreTrainedModel) -> int:
    """Count the layers that run, shared ones as often as they do.

    ALBERT's one layer counts ``num_hidden_layers`` times.

    >>> from imbik.testing.contract import tiny_bert
    >>> depth_of(tiny_bert(family="albert", layers=3).model)
    3
    """
    return len(anatomy(model).layers)


def _note(events: list[tuple[str, str]], role: str, path: str, *_: object) -> None:
    """Forward hook: write down that a module runs."""
    events.append((role, path))


def _layers(events: list[tuple[str, str]]) -> Iterator[LayerTaps]:
    """Turn the modules that ran, in their order, into one entry per run of a layer.

    A role that runs twice within one layer (relative positions) is read the first time.
    """
    calls: dict[str, int] = {}
    current: dict[str, Tap] = {}
    # The layer without a path at the end closes the last one.
    for role, path in [*events, ("layer", "")]:
        if role == "layer" and current:
            yield LayerTaps(**{k: v for k, v in current.items() if k in LayerTaps.__dataclass_fields__})
            current = {}
        call = calls.get(path, 0)
        calls[path] = call + 1
        if role == "layer":
            current = {"input": Tap(path, call, "input"), "output": Tap(path, call)}
        elif role == "qkv":  # one product gives all three side by side: (B, T, 3·H)
            current |= {name: Tap(path, call, part=(i, 3)) for i, name in enumerate(("query", "key", "value"))}
        elif role not in current:
            current[role] = Tap(path, call)


class StateReader(Protocol):
    """Reader of a network's states: an :class:`Anatomy`, or one that knows module paths alone."""

    def taps(self, name: str) -> tuple[Tap, ...]:
        """Return where the state ``name`` is read."""

    def read(self, name: str, captured: Mapping[Tap, Tensor]) -> Tensor:
        """Return the state ``name``, computed from what its taps gave."""


class States(Mapping[str, Tensor]):
    """States of one forward pass by name, see :class:`Anatomy`."""

    def __init__(self, reader: StateReader, names: Iterable[str], captured: Mapping[Tap, Tensor]) -> None:
        self._reader = reader
        self._names = tuple(names)
        self._captured = captured

    def __getitem__(self, name: str) -> Tensor:
        return self._reader.read(name, self._captured)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@contextmanager
def listen(model: nn.Module, reader: StateReader, names: Iterable[str]) -> Iterator[States]:
    """Context manager: a forward pass of ``model`` inside fills the states ``names``.

    Gradients flow through them.

    Args:
        model: the network.
        reader: its :class:`Anatomy`, or :class:`imbik.distillation.transfer.Modules` for other
            networks.
        names: states to read.

    >>> from imbik.testing.contract import tiny_bert
    >>> model = tiny_bert().model
    >>> with listen(model, anatomy(model), ["hidden.-1", "scores.0"]) as states:
    ...     _ = model(input_ids=torch.ones(1, 5, dtype=torch.long))
    >>> states["hidden.-1"].shape, states["scores.0"].shape
    (torch.Size([1, 5, 32]), torch.Size([1, 2, 5, 5]))
    """
    names = tuple(names)
    with capture(model, {tap for name in names for tap in reader.taps(name)}) as captured:
        yield States(reader, names, captured)
