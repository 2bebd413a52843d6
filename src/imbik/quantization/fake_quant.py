"""Fake quantization: int8 arithmetic imitated in floating point, differentiable.

For quantization-aware training (Jacob et al. 2018, section 3). Every value is rounded to the
integer that the exported model would use and scaled back; the gradient passes through the rounding
as if it were not there (straight-through). With learned ranges the gradient reaches the ends of the
range as well (Esser et al. 2020, LSQ, arXiv 1902.08153; the range is learned as a factor, so that
its steps are relative to its size). As there, it is divided by sqrt(N · Q), N the values that share
the range and Q its greatest integer: else it would outweigh the weights' in the common norm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from imbik.quantization.integer import SMALL_TABLE
from imbik.quantization.ranges import Products, Ranges


def straight_through(values: Tensor) -> Tensor:
    """Round the values; the gradient is that of the identity."""
    return values + (values.round() - values).detach()


class _Damped(torch.autograd.Function):
    """Identity whose gradient is multiplied by a factor."""

    @staticmethod
    def forward(ctx: FunctionCtx, value: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return value.view_as(value)

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.factor, None


class _StraightThroughClamp(torch.autograd.Function):
    """Clamp min(value, 1) that a gradient can leave again.

    At the bound only the gradient that leads back below it passes.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, value: Tensor) -> Tensor:
        ctx.bound = bool(value >= 1)
        return value.clamp_max(1.0)

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> Tensor:
        return gradients[0].clamp_min(0) if ctx.bound else gradients[0]


def fake_affine(x: Tensor, low: Tensor, high: Tensor, bits: int = 8) -> Tensor:
    """Compute S (clip(round(x / S) + Z) - Z) with S and Z of ``[low, high]``.

    See :func:`imbik.quantization.integer.affine`.

    >>> fake_affine(torch.tensor([-9.0, 0.0, 0.4, 9.0]), torch.tensor(0.0), torch.tensor(2.55)).tolist()
    [0.0, 0.0, 0.3999999761581421, 2.549999952316284]
    """
    # Unsigned: activations are not symmetric around 0.
    top = 2**bits - 1
    scale = (high - low).clamp_min(1e-30) / top
    # The zero point is an integer too; rounded by itself, it keeps its gradient.
    zero = straight_through(-low / scale)
    return (straight_through((x / scale + zero).clamp(0, top)) - zero) * scale


def fake_symmetric(weight: Tensor, per_channel: bool, clip: Tensor | float = 1.0, bits: int = 8) -> Tensor:
    """Round weights ``(N, K)`` as :func:`imbik.quantization.integer.symmetric` stores them.

    One scale per row, or one for all.
    """
    top = 2 ** (bits - 1) - 1
    size = weight.detach().abs()
    scale = ((size.amax(dim=1, keepdim=True) if per_channel else size.amax()) * clip / top).clamp_min(1e-30)
    return straight_through((weight / scale).clamp(-top, top)) * scale


class FakeQuantizer(nn.Module):
    """Imitation of int8 in a model's products.

    Args:
        ranges: where to start from, as :func:`imbik.quantization.ranges.calibrate` or
            :meth:`learned` gave them.
        same: product -> first product that reads the same tensor
            (:func:`imbik.quantization.ranges.trace_products`); these share one range, since the exported
            model quantizes that tensor once.
        per_channel: one weight scale per output channel, else one per product.
        embeddings: rows of embedding tables are rounded too.
        learn: whether the ranges train; else they stay as they are.
        gain: how many times the weights' learning rate the logarithm of a range moves by.

    Attributes:
        start: ``(G, 2)`` the ends to start from.
        covered: ``(P,)`` the share of each weight's largest value to start from.
        low, high: ``(G,)`` logarithms of the factors on the ends of each input's range, divided by
            ``gain``.
        clip: ``(P,)`` the same for the share of each weight's largest value that its scale covers;
            a factor above 1 acts as 1.
    """

    start: Tensor
    covered: Tensor

    def __init__(
        self, ranges: Ranges, same: Mapping[str, str], *, per_channel: bool, embeddings: bool, learn: bool, gain: float = 20.0
    ) -> None:
        super().__init__()
        self.ranges = ranges
        self.same = dict(same)
        self.gain = gain
        self.per_channel = per_channel
        self.embeddings = embeddings
        groups = sorted(set(self.same.values()))
        self.group = {name: groups.index(self.same[name]) for name in self.same}
        weights = sorted({_weight(name) for name in self.same})
        self.weight = {name: weights.index(_weight(name)) for name in self.same}
        # Widened to hold 0, as affine() does: a learned factor could not cross it.
        ends = [[min(ranges[name]["input"][0], 0.0), max(ranges[name]["input"][1], 0.0)] for name in groups]
        shares = {_weight(name): float(ranges[name].get("clip", 1.0)) for name in self.same}
        self.register_buffer("start", torch.tensor(ends, dtype=torch.float32), persistent=False)
        self.register_buffer("covered", torch.tensor([shares[name] for name in weights]), persistent=False)
        self.low, self.high = (nn.Parameter(torch.zeros(len(groups)), requires_grad=learn) for _ in range(2))
        self.clip = nn.Parameter(torch.zeros(len(weights)), requires_grad=learn)

    @contextmanager
    def quantized(self, model: nn.Module) -> Iterator[None]:
        """Context manager: make ``model`` compute like its exported version."""
        with _Tables(self.embeddings), Products(model, self._product):
            yield

    def learned(self) -> Ranges:
        """Return the ranges as they are now."""
        out: Ranges = {}
        with torch.no_grad():
            for name, group in self.group.items():
                low, high = (float(end) for end in self._ends(group))
                out[name] = {**self.ranges[name], "input": [low, high], "clip": float(self._clip(self.weight[name]))}
        return out

    def _product(self, name: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Compute ``x Wᵀ + b`` with both factors rounded."""
        if name not in self.group:
            return nn.functional.linear(x, weight, bias)
        # In float32: bf16 has 8 bits of mantissa and would round a second time, on another grid.
        with torch.autocast(x.device.type, enabled=False):
            # N: the values of one text for the range, the weights under one scale for their clip.
            values, rows = x[0].numel(), len(weight) if self.per_channel else 1
            low, high = (self._damped(end, values, 255) for end in self._ends(self.group[name]))
            x = fake_affine(x.float(), low, high)
            clip = self._damped(self._clip(self.weight[name]), weight.numel() // rows, 127)
            weight = fake_symmetric(weight, self.per_channel, clip)
        y: Tensor = nn.functional.linear(x, weight, bias)
        return y

    def _ends(self, group: int) -> tuple[Tensor, Tensor]:
        """Return both ends of a group's range, with their gradients."""
        low, high = self.start[group]
        # exp: the factors stay above 0, and a step changes a range by a share of its size.
        return low * (self.gain * self.low[group]).exp(), high * (self.gain * self.high[group]).exp()

    def _clip(self, index: int) -> Tensor:
        """Return the share of a weight's largest value that its scale covers, with its gradient."""
        share: Tensor = _StraightThroughClamp.apply(self.covered[index] * (self.gain * self.clip[index]).exp())  # type: ignore[no-untyped-call]
        return share

    def _damped(self, value: Tensor, count: int, top: int) -> Tensor:
        """Divide the gradient of ``value`` by sqrt(N · Q), and by the gain that its logarithm has."""
        damped: Tensor = _Damped.apply(value, 1.0 / (self.gain * math.sqrt(count * top)))  # type: ignore[no-untyped-call]
        return damped


class _Tables(torch.overrides.TorchFunctionMode):
    """Mode in which rows looked up in large embedding tables are rounded.

    Each row on a scale of its own.
    """

    def __init__(self, active: bool) -> None:
        super().__init__()
        self.active = active

    def __torch_function__(
        self, func: Callable[..., Any], types: Collection[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        # Only the rows of this batch are rounded, not the whole table at every step.
        if self.active and func is nn.functional.embedding and args[1].numel() >= SMALL_TABLE:
            return fake_symmetric(out.flatten(0, -2), per_channel=True).reshape(out.shape)
        return out


def _weight(name: str) -> str:
    """Return the name of the weight in the name of a product: its second use is ``name#1``."""
    return name.split("#")[0]
