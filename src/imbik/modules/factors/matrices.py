"""Layers of any module as what can be factorized: what each rank costs and loses, and the layer that it gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imbik.factorization.decomposition import Decomposition, decompose, tail
from imbik.models.layers.factorized_embedding import FactorizedEmbedding
from imbik.models.layers.low_rank import LowRankLinear
from imbik.models.layers.low_rank_recurrent import LowRankRecurrent, input_weights
from imbik.modules.arguments import float64


@dataclass(frozen=True)
class Choice:
    """One way to factorize a layer.

    Attributes:
        cost: numbers, or multiplications on the example.
        loss: share of the squared weights that is lost.
        ranks: one, or those of outputs and inputs for Tucker-2.
    """

    cost: float
    loss: float
    ranks: tuple[int, ...]


@dataclass(frozen=True)
class Work:
    """How often a layer's weights are used on the example: 1 everywhere where numbers are counted.

    Attributes:
        before: places of its input that a 1 × 1 kernel would visit.
        between: places between a column and a row kernel.
        after: places of its output.
    """

    before: float = 1.0
    between: float = 1.0
    after: float = 1.0


class Factorizable(ABC):
    """A layer that can be written as a product of smaller ones.

    Attributes:
        module: as it is.
        work: see :class:`Work`.
        weights: what its inputs count, for layers that read vectors; see :func:`imbik.factorization.decomposition.decompose`.
    """

    def __init__(self, module: nn.Module, work: Work) -> None:
        self.module: Any = module
        self.work = work
        self.weights: NDArray[np.float64] | None = None

    @property
    @abstractmethod
    def dense(self) -> float:
        """What it costs in one piece."""

    @abstractmethod
    def every(self) -> list[Choice]:
        """List the choices, whatever they cost."""

    @abstractmethod
    def layer(self, ranks: tuple[int, ...]) -> nn.Module:
        """Make the factorized layer."""

    @cached_property
    def choices(self) -> list[Choice]:
        """The choices that cost less than the layer: rising cost, falling loss."""
        best: list[Choice] = []
        for choice in sorted(self.every(), key=lambda one: (one.cost, one.loss)):
            if choice.cost < self.dense and (not best or choice.loss < best[-1].loss):
                best.append(choice)
        return best


class Product(Factorizable):
    """A layer whose weights are a matrix W ``(m, n)`` ≈ U V; each rank costs a row of V and a column of U.

    ``columns`` and ``rows`` are what these cost.
    """

    columns: float
    rows: float

    @abstractmethod
    def matrix(self) -> NDArray[np.float64]:
        """Return W in float64."""

    @property
    def dense(self) -> float:
        """What it costs in one piece."""
        return float(self.module.weight.numel()) * self.work.after

    @cached_property
    def decomposition(self) -> Decomposition:
        """Decomposition of W under the weights, computed once."""
        return decompose(self.matrix(), self.weights)

    def every(self) -> list[Choice]:
        """List every rank."""
        unit = self.columns + self.rows
        # ranks beyond break-even are never chosen: they are not listed
        most = min(len(self.decomposition.values), int(self.dense / unit) + 1)
        losses = tail(self.decomposition.values)
        return [Choice(unit * rank, float(losses[rank - 1]), (rank,)) for rank in range(1, most + 1)]

    def factors(self, ranks: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Return U ``(m, r)`` and V ``(r, n)``."""
        up, down = self.decomposition.factors(ranks[0])
        return torch.from_numpy(np.ascontiguousarray(up)), torch.from_numpy(np.ascontiguousarray(down))


class LinearProduct(Product):
    """A Linear."""

    def __init__(self, module: nn.Linear, work: Work) -> None:
        super().__init__(module, work)
        self.rows, self.columns = module.out_features * work.after, module.in_features * work.after

    def matrix(self) -> NDArray[np.float64]:
        """Return W ``(out, in)``."""
        return float64(self.module.weight)

    def layer(self, ranks: tuple[int, ...]) -> nn.Module:
        """Make two Linears in one."""
        return LowRankLinear.of(*self.factors(ranks), self.module.bias)


class TableProduct(Product):
    """An embedding table ``(V, E)``."""

    def __init__(self, module: nn.Embedding, work: Work) -> None:
        super().__init__(module, work)
        self.rows, self.columns = float(module.num_embeddings), float(module.embedding_dim)

    def matrix(self) -> NDArray[np.float64]:
        """Return the table."""
        return float64(self.module.weight)

    def layer(self, ranks: tuple[int, ...]) -> nn.Module:
        """Make a narrow table with a projection."""
        up, down = self.factors(ranks)
        return FactorizedEmbedding.of(up, down.T, self.module.padding_idx)


class RecurrentProduct(Product):
    """What the first layer of an LSTM, a GRU or an RNN does to its input: the weights of all gates and directions, one above the other."""

    def __init__(self, module: nn.RNNBase, work: Work) -> None:
        super().__init__(module, work)
        matrix = input_weights(module)
        self.rows, self.columns = len(matrix) * work.after, matrix.shape[1] * work.after

    @property
    def dense(self) -> float:
        """What it costs in one piece."""
        return float(input_weights(self.module).numel()) * self.work.after

    def matrix(self) -> NDArray[np.float64]:
        """Return the weights of all gates and directions."""
        return float64(input_weights(self.module))

    def layer(self, ranks: tuple[int, ...]) -> nn.Module:
        """Make a projection with a recurrent layer of a narrower input behind it."""
        return LowRankRecurrent.of(self.module, *self.factors(ranks))
