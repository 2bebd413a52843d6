"""What the operations of a graph do to channels."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn
from torch.nn import functional as F

ELEMENTWISE = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh,
    nn.Sigmoid, nn.Tanh, nn.Softplus, nn.LogSigmoid, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout,
)  # fmt: skip
"""Layers that compute each value from itself alone."""

PER_CHANNEL = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d,
    nn.ZeroPad1d, nn.ZeroPad2d, nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ConstantPad1d,
    nn.ConstantPad2d,
)  # fmt: skip
"""Layers that compute each channel from itself alone."""

_KINDS: dict[str, set[object]] = {
    "elementwise": {
        F.relu, F.relu6, F.leaky_relu, F.elu, F.gelu, F.silu, F.mish, F.hardswish, F.hardsigmoid, F.hardtanh, F.sigmoid, F.tanh,
        F.softplus, F.dropout, F.dropout2d, torch.relu, torch.sigmoid, torch.tanh, torch.exp, torch.sqrt, torch.abs, torch.neg,
        torch.clamp, operator.neg, operator.pos,
        "relu", "relu_", "sigmoid", "tanh", "exp", "sqrt", "abs", "neg", "clamp", "contiguous", "clone", "detach", "float", "pow",
    },
    "combine": {
        operator.add, operator.iadd, operator.sub, operator.isub, operator.mul, operator.imul, operator.truediv, torch.add, torch.sub,
        torch.mul, torch.div, torch.maximum, torch.minimum, "add", "add_", "sub", "mul", "mul_", "div",
    },
    "per channel": {
        F.max_pool1d, F.max_pool2d, F.avg_pool1d, F.avg_pool2d, F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_max_pool1d,
        F.adaptive_max_pool2d, F.interpolate, F.pad, torch.max_pool2d, torch.avg_pool1d, torch.adaptive_avg_pool1d,
    },
    "mean": {torch.mean, torch.sum, torch.amax, torch.amin, "mean", "sum", "amax", "amin"},
    "move": {
        torch.flatten, torch.permute, torch.transpose, torch.squeeze, torch.unsqueeze, torch.cat, torch.concat, torch.movedim, torch.chunk,
        torch.split, torch.reshape, operator.getitem,
        "flatten", "permute", "transpose", "squeeze", "unsqueeze", "movedim", "chunk", "split", "reshape", "view",
    },
}  # fmt: skip

_SIZED = {torch.reshape, "reshape", "view"}


def kind_of(node: fx.Node) -> str | None:
    """Return what a function or method does to channels; None: nobody knows."""
    target: object = node.target
    name = getattr(target, "__name__", "")
    # functions of torch.nn.functional that choose between two (F.max_pool2d) carry the name of what they wrap
    known = (kind for kind, members in _KINDS.items() if target in members)
    return next(known, "per channel" if name in ("boolean_dispatch", "_max_pool2d", "_max_pool1d") else None)


def channel_axis(module: nn.Module, dimensions: int) -> int:
    """Return the axis of the channels for a layer that pools or pads the axes behind it."""
    # MaxPool2d has two axes behind the channels
    spatial = next((int(digit) for digit in type(module).__name__[-2:] if digit.isdigit()), dimensions - 2)
    return dimensions - spatial - 1


def reduced_axes(node: fx.Node, dimensions: int) -> list[int] | None:
    """Return the axes that a mean or sum takes away; None: all, or unknown."""
    axes = node.args[1] if len(node.args) > 1 else {"dim": None, **node.kwargs}["dim"]
    given: Any = [axes] if isinstance(axes, int) else axes
    if not isinstance(given, tuple | list) or not all(isinstance(axis, int) for axis in given):
        return None
    return sorted(axis % dimensions for axis in given)


def keeps_sizes(node: fx.Node, moved: NDArray[np.int64] | tuple[NDArray[np.int64], ...] | list[NDArray[np.int64]]) -> bool:
    """Tell whether the shape that a reshape is given in numbers stays right when channels go.

    A number in it may only stand for an axis along which all is of one channel; -1 and what is computed from a shape follow.
    """
    if node.target not in _SIZED:
        return True
    sizes: Any = node.args[1:] if len(node.args) != 2 or isinstance(node.args[1], int | fx.Node) else node.args[1]
    # view(dtype) and sizes in one argument that is computed
    if not isinstance(moved, np.ndarray) or len(sizes) != moved.ndim:
        return False
    fixed = [axis for axis, size in enumerate(sizes) if isinstance(size, int) and size != -1]
    return all((np.diff(moved, axis=axis) == 0).all() for axis in fixed)
