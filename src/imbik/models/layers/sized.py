"""A Linear of other widths than the architecture's config names."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from imbik.models.layers.registry import layer


@layer("linear")
class SizedLinear(nn.Linear):  # type: ignore[misc]
    """Plain Linear y = W x + b whose widths are recorded beside the config: what is left of one that was pruned.

    >>> SizedLinear(4, 2).arguments
    {'in_features': 4, 'out_features': 2, 'bias': True}
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias=bias)

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None) -> SizedLinear:
        """Make the layer of a matrix ``(m, n)`` and a bias ``(m,)`` or None; both are copied."""
        new = cls(weight.shape[1], weight.shape[0], bias is not None)
        with torch.no_grad():
            new.weight.copy_(weight)
            if bias is not None:
                new.bias.copy_(bias)
        return new

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the constructor, see :class:`imbik.models.layers.registry.Layer`."""
        return {"in_features": self.in_features, "out_features": self.out_features, "bias": self.bias is not None}
