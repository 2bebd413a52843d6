"""Layers whose weights and values are rounded as int8 stores them, differentiable: what an int8 artefact computes, in PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imbik.quantization.fake_quant import fake_affine
from imbik.quantization.integer import affine
from imbik.quantization.ranges import Range


class RoundedWeight(nn.Module):
    """A Linear or convolution with rounded weights: one scale per output channel, or one for all, zero point 0.

    w is rounded to s · clip(round(w / s), -127, 127) with s = max|w| / 127; the gradient passes as if nothing were rounded
    (straight-through: Jacob et al. 2018, arXiv 1712.05877, section 3).

    Args:
        layer: keeps its float weights, which train.
        bits: 8, or 7 for processors whose 8-bit products overflow.
        per_channel: one scale per output channel.
        dynamic: what it reads is rounded too, by the range of each call.

    Attributes:
        scale: s of every output channel, ``(O,)``.
    """

    scale: Tensor
    zero: Tensor

    def __init__(self, layer: nn.Module, bits: int, per_channel: bool, dynamic: bool) -> None:
        super().__init__()
        self.layer: Any = layer
        self.bits, self.per_channel, self.dynamic = bits, per_channel, dynamic
        count = len(self.layer.weight)
        self.register_buffer("scale", torch.ones(count))
        self.register_buffer("zero", torch.zeros(count, dtype=torch.int32))
        self.measure()

    @torch.no_grad()
    def measure(self) -> None:
        """Take the scales of the weights as they are now."""
        size = self.layer.weight.detach().abs().flatten(1).amax(dim=1)
        size = size if self.per_channel else size.amax().expand_as(size)
        # a channel of zeros: any scale gives zeros
        self.scale.copy_(torch.where(size > 0, size / (2 ** (self.bits - 1) - 1), torch.ones_like(size)))

    @property
    def weight(self) -> Tensor:
        """The rounded weights."""
        # -128 is never reached, since no weight is larger than 127 scales; ONNX knows this range alone
        return torch.fake_quantize_per_channel_affine(self.layer.weight, self.scale, self.zero, 0, -128, 127)

    @property
    def bias(self) -> Tensor | None:
        """The bias, in float."""
        bias: Tensor | None = self.layer.bias
        return bias

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.measure()
        # an exporter writes the weights; the engine finds the range of x at each call by itself
        if self.dynamic and not torch.onnx.is_in_onnx_export():
            x = fake_affine(x, x.amin().clamp(max=0.0), x.amax().clamp(min=0.0))
        return _computed(self.layer, x, self.weight)


def _computed(layer: Any, x: Tensor, weight: Tensor) -> Tensor:
    """Run a layer with other weights; an exporter that traces does not take torch's own way to do so."""
    if isinstance(layer, nn.Linear):
        return F.linear(x, weight, layer.bias)
    padding = layer.padding
    if layer.padding_mode != "zeros":
        # what is read beyond the borders is made first, the last axis first
        spans = [d * (k - 1) for k, d in zip(layer.kernel_size, layer.dilation, strict=True)]
        given = {"same": [divmod(span, 2) for span in spans], "valid": [(0, 0)] * len(spans)}
        wanted = given[padding] if isinstance(padding, str) else [(one, 0) for one in padding]
        ends = [end for half, odd in reversed(wanted) for end in (half, half + odd)]
        x, padding = F.pad(x, ends, mode=layer.padding_mode), 0
    convolve = F.conv1d if isinstance(layer, nn.Conv1d) else F.conv2d
    return convolve(x, weight, layer.bias, layer.stride, padding, layer.dilation, layer.groups)


class RoundedValue(nn.Module):
    """Values rounded to unsigned 8 bits over a range that was observed: S (clip(round(x / S) + Z, 0, 255) - Z).

    Attributes:
        scale, zero: S and Z.
        watched: the range, while it is observed; values pass as they are.
        counting: the second look, which counts into bins.
    """

    scale: Tensor
    zero: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(1.0))
        self.register_buffer("zero", torch.tensor(0, dtype=torch.int32))
        self.watched: Range | None = Range()
        self.counting = False

    def settle(self, percentile: float) -> None:
        """Take the range that holds the central ``percentile`` % of what was seen; values are rounded from now on."""
        assert self.watched is not None
        low, high = self.watched.cut(percentile)
        scale, zero = affine(low, high)
        self.scale.fill_(float(scale))
        self.zero.fill_(zero)
        self.watched = None

    def forward(self, x: Tensor) -> Tensor:
        if self.watched is None:
            return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero, 0, 255)
        values = x.detach().float()
        if self.counting:
            self.watched.count(values)
        else:
            self.watched.widen(values)
        return x


@torch.no_grad()
def round_rows(weight: Tensor, bits: int) -> None:
    """Round a matrix in place, one scale per row: what stays in a plain layer, such as a table or an LSTM."""
    size = weight.abs().amax(dim=1)
    scale = torch.where(size > 0, size / (2 ** (bits - 1) - 1), torch.ones_like(size))
    weight.copy_((weight / scale[:, None]).round() * scale[:, None])
