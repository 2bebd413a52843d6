"""A layer that holds two narrow factors in the place of one matrix."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from imbik.models.layers.registry import layer


@layer("low_rank")
class LowRankLinear(nn.Module):
    """Linear layer y = U (V x) + b: two factors in the place of one matrix W (m × n).

    ``rank`` · (m + n) numbers take the place of m · n.

    Attributes:
        down: V, ``(rank, in_features)``.
        up: U, ``(out_features, rank)``, with the bias.
    """

    def __init__(self, in_features: int, out_features: int, rank: int, bias: bool = True) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.rank = rank
        self.down = nn.Linear(in_features, rank, bias=False)
        self.up = nn.Linear(rank, out_features, bias=bias)

    @classmethod
    def of(cls, up: Tensor, down: Tensor, bias: Tensor | None) -> LowRankLinear:
        """Make the layer of two factors U ``(m, r)`` and V ``(r, n)``."""
        new = cls(down.shape[1], up.shape[0], down.shape[0], bias is not None)
        with torch.no_grad():
            new.up.weight.copy_(up)
            new.down.weight.copy_(down)
            if bias is not None:
                new.up.bias.copy_(bias)
        return new

    @property
    def weight(self) -> Tensor:
        """Matrix that the factors stand for, U V ``(m, n)``; computed anew at every call."""
        return self.up.weight @ self.down.weight

    @property
    def bias(self) -> Tensor | None:
        """Bias ``(m,)``, or None."""
        return self.up.bias

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the constructor, see :class:`imbik.models.layers.registry.Layer`."""
        bias = self.up.bias is not None
        return {"in_features": self.in_features, "out_features": self.out_features, "rank": self.rank, "bias": bias}

    def forward(self, x: Tensor) -> Tensor:
        # (B, T, n) -> (B, T, r) -> (B, T, m): the matrix U V is never made here.
        y: Tensor = self.up(self.down(x))
        return y
