"""Convolutions as what can be factorized: by channels, by space, as Tucker-2."""

from __future__ import annotations

from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imbik.factorization.kernels import Tucker, by_space
from imbik.modules.arguments import float64
from imbik.modules.factors.matrices import Choice, Factorizable, Product, Work

Convolution: TypeAlias = "nn.Conv1d | nn.Conv2d"


class ChannelProduct(Product):
    """A convolution, by channels."""

    def __init__(self, module: Convolution, work: Work) -> None:
        super().__init__(module, work)
        self.columns = module.weight[0].numel() * work.after
        self.rows = module.out_channels * work.after

    def matrix(self) -> NDArray[np.float64]:
        """Return the kernel as ``(O, I h w)``."""
        return float64(self.module.weight).reshape(self.module.out_channels, -1)

    def layer(self, ranks: tuple[int, ...]) -> nn.Module:
        """Make r filters of the same size and a mixture of them."""
        conv: Any = self.module
        up, down = self.factors(ranks)
        # V (r, I h w) -> (r, I, h, w); U (O, r) -> (O, r, 1, 1)
        first = _like(conv, conv.in_channels, ranks[0])
        second = _pointwise(conv, ranks[0], conv.out_channels)
        return _chain([(first, down.reshape(first.weight.shape)), (second, up.reshape(second.weight.shape))], conv.bias)


class SpaceProduct(Product):
    """A convolution of two dimensions, by space."""

    def __init__(self, module: nn.Conv2d, work: Work) -> None:
        super().__init__(module, work)
        height, width = module.kernel_size
        self.rows = module.in_channels * height * work.between
        self.columns = module.out_channels * width * work.after

    def matrix(self) -> NDArray[np.float64]:
        """Return the kernel as ``(I h, O w)``."""
        return by_space(float64(self.module.weight))

    def layer(self, ranks: tuple[int, ...]) -> nn.Module:
        """Make r column filters and a row filter for every output."""
        conv, rank = self.module, ranks[0]
        (height, width), outputs, inputs = conv.kernel_size, conv.out_channels, conv.in_channels
        up, down = self.factors(ranks)
        axes = [_axis(conv, 0), _axis(conv, 1)]
        first = nn.Conv2d(inputs, rank, (height, 1), **axes[0], bias=False)
        second = nn.Conv2d(rank, outputs, (1, width), **axes[1])
        # U (I h, r) -> (r, I, h, 1); V (r, O w) -> (O, r, 1, w)
        columns = up.reshape(inputs, height, rank).permute(2, 0, 1).unsqueeze(3)
        rows = down.reshape(rank, outputs, width).permute(1, 0, 2).unsqueeze(2)
        return _chain([(first, columns), (second, rows)], conv.bias)


class TuckerProduct(Factorizable):
    """A convolution as Tucker-2."""

    @property
    def dense(self) -> float:
        """What it costs in one piece."""
        return float(self.module.weight.numel()) * self.work.after

    @cached_property
    def tucker(self) -> Tucker:
        """Both bases, computed once."""
        return Tucker(float64(self.module.weight))

    def every(self) -> list[Choice]:
        """List every pair of ranks on a grid of at most 64 × 64."""
        conv, losses = self.module, self.tucker.losses
        area = conv.weight[0, 0].numel()
        return [
            Choice(self._cost(area, out, into), float(losses[out - 1, into - 1]), (out, into))
            for out in _grid(conv.out_channels)
            for into in _grid(conv.in_channels)
        ]

    def _cost(self, area: int, out: int, into: int) -> float:
        conv, work = self.module, self.work
        return conv.in_channels * into * work.before + (area * into * out + out * conv.out_channels) * work.after  # type: ignore[no-any-return]

    def layer(self, ranks: tuple[int, ...]) -> nn.Module:
        """Make 1 × 1, a small kernel of the same size, and 1 × 1."""
        conv = self.module
        left, core, right = (torch.from_numpy(np.ascontiguousarray(part, np.float32)) for part in self.tucker.factors(*ranks))
        # without bias: what the padding of the kernel adds must stay 0
        first = _pointwise(conv, conv.in_channels, ranks[1], bias=False)
        second = _like(conv, ranks[1], ranks[0])
        third = _pointwise(conv, ranks[0], conv.out_channels)
        parts = [(first, right.T.reshape(first.weight.shape)), (second, core), (third, left.reshape(third.weight.shape))]
        return _chain(parts, conv.bias)


def _grid(size: int) -> list[int]:
    """Return 1 to ``size``, at most 64 of them, the largest among them."""
    # 64 × 64 pairs are sorted in a moment; all pairs of 512 × 512 would not be
    step = -(-size // 64)
    return sorted({size, *range(step, size + 1, step)})


def _like(conv: Convolution, inputs: int, outputs: int) -> Convolution:
    """Make a convolution of the same kernel, stride and padding, without bias."""
    kind: Any = type(conv)
    made: Convolution = kind(
        inputs, outputs, conv.kernel_size, conv.stride, conv.padding, conv.dilation, bias=False, padding_mode=conv.padding_mode
    )
    return made


def _pointwise(conv: Convolution, inputs: int, outputs: int, bias: bool = True) -> Convolution:
    kind: Any = type(conv)
    made: Convolution = kind(inputs, outputs, 1, bias=bias)
    return made


def _axis(conv: nn.Conv2d, axis: int) -> dict[str, Any]:
    """Return stride, padding and dilation of one axis, for a kernel along it."""
    stride, dilation = [1, 1], [1, 1]
    stride[axis], dilation[axis] = conv.stride[axis], conv.dilation[axis]
    padding: object = conv.padding
    if not isinstance(padding, str):
        both = [0, 0]
        both[axis] = conv.padding[axis]
        padding = tuple(both)
    return {"stride": tuple(stride), "padding": padding, "dilation": tuple(dilation), "padding_mode": conv.padding_mode}


def _chain(parts: list[tuple[Convolution, Tensor]], bias: Tensor | None) -> nn.Sequential:
    """Fill the kernels, give the last one the bias, and put them behind one another."""
    last = parts[-1][0]
    if bias is None:
        last.bias = None
    with torch.no_grad():
        for conv, kernel in parts:
            conv.weight.copy_(kernel)
        if bias is not None and last.bias is not None:
            last.bias.copy_(bias)
    return nn.Sequential(*(conv for conv, _ in parts))
