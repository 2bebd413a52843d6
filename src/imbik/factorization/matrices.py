"""Matrices of a model's encoder, as what can be factorized."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from imbik.factorization.decomposition import Decomposition, decompose, largest_rank, split_nmf, tail
from imbik.models.blocks import layer_stack
from imbik.models.layers.low_rank import LowRankLinear


def matrices_of(model: nn.Module, *, nmf: bool) -> dict[str, Matrix]:
    """Return every Linear in the encoder's layers, dense or factorized, under its name.

    A shared one stands there once, under its first name.

    Args:
        nmf: it will be factorized by :func:`imbik.factorization.decomposition.split_nmf`.
    """
    prefix, stack = layer_stack(model)
    matrices: dict[str, Matrix] = {}
    inside: set[int] = set()
    for name, module in stack.named_modules():
        # The two factors of a factorized Linear are Linears too, but no matrices of the model.
        if isinstance(module, LowRankLinear):
            inside |= {id(module.up), id(module.down)}
        if isinstance(module, nn.Linear | LowRankLinear) and id(module) not in inside:
            matrices[f"{prefix}.{name}"] = Matrix(module, nmf)
    return matrices


class Matrix:
    """Matrix W ``(m, n)`` of a Linear.

    Attributes:
        weights: what its inputs count, see :func:`imbik.factorization.decomposition.decompose`.
        uses: how often it costs: 1, or at how many places it stands.
        largest: the largest rank that makes it smaller than it is now.
    """

    def __init__(self, module: nn.Linear | LowRankLinear, nmf: bool) -> None:
        self.module = module
        self.nmf = nmf
        self.weights: NDArray[np.float64] | None = None
        self.uses = 1
        self.rows = int(module.out_features)
        self.columns = int(module.in_features)
        pairs = 2 if nmf else 1
        self.largest = largest_rank(self.rows, self.columns, pairs)
        if isinstance(module, LowRankLinear):
            # Its rank is its size now: only a smaller one saves anything.
            self.largest = min(self.largest, (module.rank - 1) // pairs)

    @property
    def unit(self) -> float:
        """Cost of one rank: the numbers of a row and a column."""
        return float((self.rows + self.columns) * (2 if self.nmf else 1) * self.uses)

    @property
    def dense(self) -> float:
        """Cost of the matrix in one piece."""
        return float(self.rows * self.columns * self.uses)

    @property
    def now(self) -> float:
        """Cost of the matrix as it is, factorized or not."""
        factorized = isinstance(self.module, LowRankLinear)
        return float((self.rows + self.columns) * self.module.rank * self.uses) if factorized else self.dense

    @cached_property
    def losses(self) -> NDArray[np.float64]:
        """Share of ‖W R‖² that is lost at rank 1, 2, …, ``(largest,)``.

        For ``nmf`` the least that it could be, by the singular values of W⁺ and W⁻.
        """
        if not self.nmf:
            return tail(self._decomposition.values)[: self.largest]
        # NMF cannot do better than the SVD of the same part: a lower bound that costs no
        # iterations.
        parts = [decompose(np.maximum(sign * self._values, 0.0)).values for sign in (1.0, -1.0)]
        energy = max(float(np.square(self._values).sum()), 1e-30)
        return sum((tail(part) * np.square(part).sum() for part in parts), np.zeros(1))[: self.largest] / energy

    def layer(self, rank: int) -> LowRankLinear:
        """Make the factorized layer of a rank."""
        factors = split_nmf(self._values, rank) if self.nmf else self._decomposition.factors(rank)
        return self._factorized(*factors)

    def probe(self, rank: int) -> tuple[LowRankLinear, float]:
        """Make a layer of that rank quickly; return it with the share of the energy that it loses.

        It is made by SVD for ``nmf`` too.
        """
        return self._factorized(*self._decomposition.factors(rank)), float(tail(self._decomposition.values)[rank - 1])

    def _factorized(self, up: NDArray[np.floating], down: NDArray[np.floating]) -> LowRankLinear:
        """Make the layer of two factors and the bias of the Linear."""
        return LowRankLinear.of(torch.from_numpy(up), torch.from_numpy(down), self.module.bias)

    @property
    def _values(self) -> NDArray[np.float64]:
        """W in float64."""
        values: NDArray[np.float64] = self.module.weight.detach().double().numpy()
        return values

    @cached_property
    def _decomposition(self) -> Decomposition:
        """Decomposition of W under the weights, computed once."""
        return decompose(self._values, self.weights)
