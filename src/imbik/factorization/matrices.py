"""The matrices of a model's encoder, as what can be factorized."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from imbik.factorization.decomposition import Decomposition, decompose, largest_rank, split_nmf, tail
from imbik.models.anatomy import layer_stack
from imbik.models.layers.low_rank import LowRankLinear


def matrices_of(model: nn.Module, *, nmf: bool) -> dict[str, Matrix]:
    """Every Linear in the encoder's layers, dense or factorized already, under its name; a shared one once, under its first name.

    Args:
        nmf: it will be factorized by :func:`imbik.factorization.decomposition.split_nmf`.
    """
    prefix, stack = layer_stack(model)
    found: dict[str, Matrix] = {}
    inside: set[int] = set()
    for name, module in stack.named_modules():
        if isinstance(module, LowRankLinear):
            inside |= {id(module.up), id(module.down)}
        if isinstance(module, nn.Linear | LowRankLinear) and id(module) not in inside:
            found[f"{prefix}.{name}"] = Matrix(module, nmf)
    return found


class Matrix:
    """A Linear's matrix W ``(m, n)``.

    Attributes:
        weights: what its inputs count, see :func:`imbik.factorization.decomposition.decompose`.
        uses: how often it costs: 1, or at how many places it stands.
        largest: the largest rank that makes it smaller than it is now.
    """

    def __init__(self, module: nn.Linear | LowRankLinear, nmf: bool) -> None:
        self.module, self.nmf = module, nmf
        self.weights: NDArray[np.float64] | None = None
        self.uses = 1
        self.rows, self.columns = int(module.out_features), int(module.in_features)
        pairs = 2 if nmf else 1
        self.largest = largest_rank(self.rows, self.columns, pairs)
        if isinstance(module, LowRankLinear):
            self.largest = min(self.largest, (module.rank - 1) // pairs)

    @property
    def unit(self) -> float:
        """What a rank costs."""
        return float((self.rows + self.columns) * (2 if self.nmf else 1) * self.uses)

    @property
    def dense(self) -> float:
        """What the matrix costs in one piece."""
        return float(self.rows * self.columns * self.uses)

    @property
    def now(self) -> float:
        """What it costs as it is."""
        factorized = isinstance(self.module, LowRankLinear)
        return float((self.rows + self.columns) * self.module.rank * self.uses) if factorized else self.dense

    @cached_property
    def losses(self) -> NDArray[np.float64]:
        """``(largest,)``: the share of ‖W R‖² that is lost at rank 1, 2, …; for ``nmf`` the least that it could be, the singular values
        of W⁺ and W⁻."""
        if not self.nmf:
            return tail(self._decomposition.values)[: self.largest]
        parts = [decompose(np.maximum(sign * self._values, 0.0)).values for sign in (1.0, -1.0)]
        energy = max(float(np.square(self._values).sum()), 1e-30)
        return sum((tail(part) * np.square(part).sum() for part in parts), np.zeros(1))[: self.largest] / energy

    def layer(self, rank: int) -> LowRankLinear:
        """The factorized layer of a rank."""
        factors = split_nmf(self._values, rank) if self.nmf else self._decomposition.factors(rank)
        return self._made(*factors)

    def probe(self, rank: int) -> tuple[LowRankLinear, float]:
        """A layer of that rank that is quick to make, by SVD for ``nmf`` too, and the share of the energy that it loses."""
        return self._made(*self._decomposition.factors(rank)), float(tail(self._decomposition.values)[rank - 1])

    def _made(self, up: NDArray[np.floating], down: NDArray[np.floating]) -> LowRankLinear:
        return LowRankLinear.of(torch.from_numpy(up), torch.from_numpy(down), self.module.bias)

    @property
    def _values(self) -> NDArray[np.float64]:
        values: NDArray[np.float64] = self.module.weight.detach().double().numpy()
        return values

    @cached_property
    def _decomposition(self) -> Decomposition:
        return decompose(self._values, self.weights)
