"""Which channels of which layers belong together: numbers of channels, followed through the graph of a module.

Every output channel of a convolution, unit of a Linear or of a recurrent layer and column of an embedding gets a number. Beside
each tensor of a run on the example goes an array of its shape that holds, at every place, the number of the channel that the value
there is of. Operations that move values about (flatten, transpose, concatenate) move the numbers likewise; sums and products tie
the numbers of what they combine; whatever mixes or normalizes over channels fixes them: they stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from imbik.modules.channels import operations
from imbik.modules.channels.unions import FIXED, Ids, Unions

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_RECURRENT = (nn.LSTM, nn.GRU, nn.RNN)


@dataclass
class Slots:
    """The channels of one layer.

    Attributes:
        module: the layer.
        inputs: number of every input channel, ``(I,)``; None for a layer that reads no channels.
        outputs: number of every output channel, ``(O,)``. A depthwise convolution and a batch norm give what they read.
    """

    module: nn.Module
    inputs: Ids | None
    outputs: Ids

    @property
    def makes(self) -> bool:
        """Whether its output channels are its own."""
        return not isinstance(self.module, _NORMS) and getattr(self.module, "groups", 1) == 1


@dataclass
class Channels:
    """What a run on the example found.

    Attributes:
        layers: path -> its channels.
        sets: which numbers belong together.
        reasons: path of a layer whose own channels are fixed -> why.
    """

    layers: dict[str, Slots] = field(default_factory=dict)
    sets: Unions = field(default_factory=Unions)
    reasons: dict[str, str] = field(default_factory=dict)


class Follower(fx.Interpreter):
    """A run of a graph that follows the numbers of channels.

    Args:
        graph: of :func:`imbik.modules.tracing.traced`, in evaluation mode.
    """

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.found = Channels()
        self.sets = self.found.sets
        self._ids: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Compute a node's value, and the numbers beside it."""
        value = super().run_node(n)
        self._ids[n] = self._follow(n, value)
        return value

    def _follow(self, node: fx.Node, value: Any) -> Any:
        if node.op == "output":
            self._fix(node)
        if node.op == "call_module":
            module = self.fetch_attr(str(node.target))
            given = self._of(node.args[0]) if node.args else None
            if isinstance(given, np.ndarray):
                return self._through(str(node.target), module, given, node, value)
        if node.op in ("call_function", "call_method"):
            return self._operation(node, value)
        self._fix(node)
        return _unknown(value)

    def _of(self, argument: object) -> Any:
        """Return the numbers beside an argument; a constant stands for itself."""
        return fx.node.map_arg(argument, lambda one: self._ids[one])

    def _fix(self, node: fx.Node) -> None:
        """Keep every channel that a node reads."""
        for one in node.all_input_nodes:
            for ids in _arrays(self._ids[one]):
                self.sets.fix(ids)

    def _along(self, ids: Ids, axis: int) -> Ids:
        """Return the numbers along an axis, ``(C,)``; where they differ elsewhere, all are fixed."""
        # (…, C, …) -> (C, all else)
        lines = np.moveaxis(ids, axis, 0).reshape(ids.shape[axis], -1)
        if lines.shape[1] and (lines != lines[:, :1]).any():
            self.sets.fix(ids)
            return np.full(len(lines), FIXED)
        return lines[:, 0]

    def _through(self, path: str, module: nn.Module, ids: Ids, node: fx.Node, value: Any) -> Any:
        """Follow the numbers through a layer."""
        if isinstance(module, _CONVOLUTIONS):
            axis = ids.ndim - len(module.kernel_size) - 1
            return _spread(self._convolution(path, module, self._along(ids, axis)), axis, value)
        if type(module) is nn.Linear:
            return _spread(self._layer(path, module, self._along(ids, -1), module.out_features), -1, value)
        if type(module) is nn.Embedding:
            self.sets.fix(ids)
            return _spread(self._layer(path, module, None, module.embedding_dim), -1, value)
        if isinstance(module, _RECURRENT):
            return self._recurrent(path, module, ids, node, value)
        if isinstance(module, _NORMS):
            channels = self._along(ids, 1)
            self._add(path, module, channels, channels)
            return ids
        if isinstance(module, operations.ELEMENTWISE):
            return ids
        if isinstance(module, operations.PER_CHANNEL):
            axis = operations.channel_axis(module, ids.ndim)
            return _spread(self._along(ids, axis), axis, value)
        if isinstance(module, nn.Flatten):
            return module(torch.from_numpy(ids)).numpy()
        self._fix(node)
        return _unknown(value)

    def _convolution(self, path: str, module: Any, inputs: Ids) -> Ids:
        if module.groups == 1:
            return self._layer(path, module, inputs, module.out_channels)
        if module.groups == module.in_channels == module.out_channels:
            self._add(path, module, inputs, inputs)
            return inputs
        self.sets.fix(inputs)
        self.found.reasons[path] = "its channels are in groups"
        return np.full(module.out_channels, FIXED)

    def _layer(self, path: str, module: nn.Module, inputs: Ids | None, count: int) -> Ids:
        """Return the numbers of a layer's outputs; one that runs several times has the same each time."""
        return self._add(path, module, inputs, self.found.layers[path].outputs if path in self.found.layers else self.sets.new(count))

    def _add(self, path: str, module: nn.Module, inputs: Ids | None, outputs: Ids) -> Ids:
        known = self.found.layers.setdefault(path, Slots(module, inputs, outputs))
        if inputs is not None and known.inputs is not None:
            self.sets.tie(known.inputs, inputs)
        # a batch norm that stands at two places ties what it reads there
        if known.outputs is not outputs:
            self.sets.tie(known.outputs, outputs)
        return known.outputs

    def _recurrent(self, path: str, module: Any, ids: Ids, node: fx.Node, value: Any) -> Any:
        """Follow an LSTM, GRU or RNN: unit j is one channel in all of its layers and directions."""
        # a state of the caller's own has a size that nobody here may change
        own = node.args[1:2] not in ((), (None,)) or "hx" in node.kwargs
        if own or int(module.proj_size) > 0:
            self._fix(node)
            self.found.reasons[path] = "it projects its state" if not own else "it starts from a state that is given"
            return _unknown(value)
        units = self._layer(path, module, self._along(ids, -1), module.hidden_size)
        states = [_spread(units, -1, state) for state in (value[1] if isinstance(value[1], tuple) else (value[1],))]
        output = _spread(np.tile(units, 2 if module.bidirectional else 1), -1, value[0])
        return output, tuple(states) if isinstance(value[1], tuple) else states[0]

    def _operation(self, node: fx.Node, value: Any) -> Any:
        """Follow the numbers through a function or method."""
        kind = operations.kind_of(node)
        arguments = self._of(tuple(node.args))
        # sizes, shapes and numbers have no channels
        if not _arrays(arguments) or not _holds_tensor(value):
            return value
        first = arguments[0]
        if kind == "elementwise" and isinstance(first, np.ndarray):
            return first
        if kind == "combine" and isinstance(value, Tensor):
            return self._combined([array for array in arguments if isinstance(array, np.ndarray)], value)
        if kind == "per channel" and isinstance(first, np.ndarray) and first.shape[1] == value.shape[1]:
            return _spread(self._along(first, 1), 1, value)
        if kind == "mean" and isinstance(first, np.ndarray):
            return self._reduced(node, first, value)
        if kind == "move":
            moved = self._moved(node, arguments)
            if moved is not None:
                return moved
        self._fix(node)
        return _unknown(value)

    def _combined(self, arrays: list[Ids], value: Tensor) -> Ids:
        """Tie the numbers of what is combined element by element; what is spread over channels ties nothing."""
        shape = tuple(value.shape)
        wide: list[Ids] = []
        for array in arrays:
            # NumPy and torch line shapes up from the right
            padded = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
            spread = [axis for axis, size in enumerate(padded.shape) if size == 1 < shape[axis]]
            others = [np.broadcast_to(other.reshape((1,) * (len(shape) - other.ndim) + other.shape), shape) for other in arrays]
            if any((np.diff(other, axis=axis) != 0).any() for other in others for axis in spread):
                self.sets.fix(array)
            else:
                wide.append(np.broadcast_to(padded, shape))
        if not wide:
            return np.full(shape, FIXED)
        for other in wide[1:]:
            self.sets.tie(wide[0], other)
        return wide[0]

    def _reduced(self, node: fx.Node, ids: Ids, value: Tensor) -> Ids:
        """Follow a mean, a sum or a greatest value over some axes, all of one channel."""
        axes = operations.reduced_axes(node, ids.ndim)
        same = axes is not None and all((np.diff(ids, axis=axis) == 0).all() for axis in axes)
        if axes is None or not same:
            self.sets.fix(ids)
            return np.full(tuple(value.shape), FIXED)
        # any line along the axis will do: all are alike
        kept = ids
        for axis in axes:
            kept = kept.take([0], axis=axis)
        return kept.reshape(tuple(value.shape))

    def _moved(self, node: fx.Node, arguments: tuple[Any, ...]) -> Any:
        """Do to the numbers what the node does to the values; None where a smaller tensor would be moved otherwise."""
        tensors = _mapped(arguments, torch.from_numpy)
        keywords = _mapped(self._of(dict(node.kwargs)), torch.from_numpy)
        target: Any = node.target
        if node.op == "call_method":
            done = getattr(tensors[0], str(target))(*tensors[1:], **keywords)
        else:
            done = target(*tensors, **keywords)
        moved = _mapped(done, lambda one: one.numpy(), Tensor)
        before = {int(one) for array in _arrays(arguments) for one in np.unique(array)}
        # a piece that lacks some channels was cut at a number of them, which pruning changes
        if any({int(one) for one in np.unique(array)} != before for array in _arrays(moved)):
            return None
        return moved if operations.keeps_sizes(node, moved) else None


def _spread(channels: Ids, axis: int, value: Tensor) -> Ids:
    """Return an array of the value's shape with the channels' numbers along an axis."""
    shape = [1] * value.ndim
    shape[axis] = -1
    return np.broadcast_to(channels.reshape(shape), tuple(value.shape))


def _unknown(value: Any) -> Any:
    """Return the numbers of what is fixed."""
    return _mapped(value, lambda one: np.full(tuple(one.shape), FIXED), Tensor)


def _arrays(value: object) -> list[Ids]:
    """List the arrays in what stands beside a node."""
    if isinstance(value, np.ndarray):
        return [value] if value.dtype == np.int64 else []
    if isinstance(value, Mapping):
        return [one for part in value.values() for one in _arrays(part)]
    return [one for part in value for one in _arrays(part)] if isinstance(value, tuple | list) else []


def _mapped(value: Any, change: Callable[[Any], Any], kind: type = np.ndarray) -> Any:
    """Change every array (or tensor) in nested tuples, lists and mappings."""
    if isinstance(value, kind):
        return change(np.require(value, requirements=("C", "W")) if kind is np.ndarray else value)
    if isinstance(value, Mapping):
        return {name: _mapped(part, change, kind) for name, part in value.items()}
    if isinstance(value, list):
        return [_mapped(part, change, kind) for part in value]
    return tuple(_mapped(part, change, kind) for part in value) if isinstance(value, tuple) else value


def _holds_tensor(value: object) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, tuple | list) and any(map(_holds_tensor, value)))
