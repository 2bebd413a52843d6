"""A convolution whose kernel has few different entries."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from imbik.models.layers.clustered import Clustered
from imbik.models.layers.registry import layer

_KINDS: dict[str, type[nn.Conv1d] | type[nn.Conv2d]] = {"Conv1d": nn.Conv1d, "Conv2d": nn.Conv2d}


@layer("clustered_conv")
class ClusteredConv(Clustered):
    """A Conv1d or Conv2d whose kernel has ``values`` different entries.

    Args:
        kind: ``Conv1d`` or ``Conv2d``.
        values: entries of the codebook.
        settings: what the convolution is made with, beside its sizes.
    """

    def __init__(self, kind: str, values: int, settings: dict[str, Any]) -> None:
        # on no device: shapes and settings alone
        plain = _KINDS[kind](**settings, device="meta")
        super().__init__(plain.out_channels, plain.weight[0].numel(), values)
        self.kind, self.settings = kind, dict(settings)
        self.kernel = tuple(plain.weight.shape)
        self.bias = nn.Parameter(torch.zeros(plain.out_channels)) if plain.bias is not None else None
        # not a submodule: it computes, and holds no weights
        self._plain = (plain,)

    @classmethod
    def of(cls, conv: nn.Conv1d | nn.Conv2d, codebook: NDArray[np.float32], indices: NDArray[np.uint8]) -> ClusteredConv:
        """Make the layer of a convolution, a codebook and indices of the kernel's shape."""
        new = cls(type(conv).__name__, len(codebook), conv_settings(conv))
        # (O, I, h, w) -> (O, I h w)
        new.set(codebook, indices.reshape(len(indices), -1))
        if new.bias is not None and conv.bias is not None:
            new.bias.data.copy_(conv.bias.data)
        return new

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the constructor, see :class:`imbik.models.layers.registry.Layer`."""
        return {"kind": self.kind, "values": self.values, "settings": self.settings}

    def forward(self, x: Tensor) -> Tensor:
        # the convolution's own code pads and strides, with the weights that are looked up
        weights = {"weight": self.weight.reshape(self.kernel)} | ({} if self.bias is None else {"bias": self.bias})
        y: Tensor = functional_call(self._plain[0], weights, (x,))
        return y

    def expanded(self) -> nn.Conv1d | nn.Conv2d:
        """Return the same layer as a plain convolution."""
        plain = _KINDS[self.kind](**self.settings)
        plain.weight.data.copy_(self.weight.detach().reshape(self.kernel))
        if self.bias is not None and plain.bias is not None:
            plain.bias.data.copy_(self.bias.detach())
        return plain


def conv_settings(conv: nn.Conv1d | nn.Conv2d) -> dict[str, Any]:
    """Return the arguments that a convolution was made with.

    >>> conv_settings(nn.Conv2d(3, 8, 5, stride=2, bias=False))["stride"]
    (2, 2)
    """
    names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
    return {name: getattr(conv, name) for name in names} | {"bias": conv.bias is not None}
