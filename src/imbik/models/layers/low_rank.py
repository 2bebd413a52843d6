"""Layers that take the place of a Linear or an Embedding and hold fewer numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from imbik.errors import UserError
from imbik.models.structure import layer


@layer("low_rank")
class LowRankLinear(nn.Module):
    """y = U (V x) + b: two factors in the place of one matrix W (m × n), ``rank`` · (m + n) numbers in the place of m · n.

    Attributes:
        down: V, ``(rank, in_features)``.
        up: U, ``(out_features, rank)``, with the bias.
    """

    def __init__(self, in_features: int, out_features: int, rank: int, bias: bool = True) -> None:
        super().__init__()
        self.in_features, self.out_features, self.rank = in_features, out_features, rank
        self.down = nn.Linear(in_features, rank, bias=False)
        self.up = nn.Linear(rank, out_features, bias=bias)

    @classmethod
    def of(cls, up: Tensor, down: Tensor, bias: Tensor | None) -> LowRankLinear:
        """The layer of two factors U ``(m, r)`` and V ``(r, n)``."""
        made = cls(down.shape[1], up.shape[0], down.shape[0], bias is not None)
        with torch.no_grad():
            made.up.weight.copy_(up)
            made.down.weight.copy_(down)
            if bias is not None:
                made.up.bias.copy_(bias)
        return made

    @property
    def weight(self) -> Tensor:
        """The matrix that the factors stand for, U V ``(m, n)``; computed anew at every call."""
        return self.up.weight @ self.down.weight

    @property
    def bias(self) -> Tensor | None:
        """``(m,)``, or None."""
        return self.up.bias

    @property
    def arguments(self) -> dict[str, Any]:
        """See :class:`imbik.models.structure.Layer`."""
        bias = self.up.bias is not None
        return {"in_features": self.in_features, "out_features": self.out_features, "rank": self.rank, "bias": bias}

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.up(self.down(x))
        return y


@layer("factorised_embedding")
class FactorisedEmbedding(nn.Module):
    """A table (V × E) and a projection (E × H) in the place of a table (V × H), as in ALBERT (Lan et al. 2020, arXiv 1909.11942).

    Attributes:
        table: ``nn.Embedding(V, E)``.
        projection: E -> H, without bias.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, rank: int, padding_idx: int | None = None) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim, self.rank, self.padding_idx = num_embeddings, embedding_dim, rank, padding_idx
        self.table = nn.Embedding(num_embeddings, rank, padding_idx)
        self.projection = nn.Linear(rank, embedding_dim, bias=False)

    @classmethod
    def of(cls, table: Tensor, projection: Tensor, padding_idx: int | None) -> FactorisedEmbedding:
        """The embedding of a table ``(V, E)`` and a projection ``(H, E)``."""
        made = cls(len(table), len(projection), table.shape[1], padding_idx)
        with torch.no_grad():
            made.table.weight.copy_(table)
            made.projection.weight.copy_(projection)
        return made

    @property
    def arguments(self) -> dict[str, Any]:
        """See :class:`imbik.models.structure.Layer`."""
        return {
            "num_embeddings": self.num_embeddings,
            "embedding_dim": self.embedding_dim,
            "rank": self.rank,
            "padding_idx": self.padding_idx,
        }

    def forward(self, ids: Tensor) -> Tensor:
        vectors: Tensor = self.projection(self.table(ids))
        return vectors

    def keep_rows(self, rows: Tensor, padding_idx: int | None) -> FactorisedEmbedding:
        """The same projection behind some of the rows, in the given order."""
        new = FactorisedEmbedding(len(rows), self.embedding_dim, self.rank, padding_idx)
        new.table, new.projection = rows_of(self.table, rows, padding_idx), self.projection
        return new


def rows_of(table: Any, rows: Tensor, padding_idx: int | None) -> nn.Module:
    """A table of some of the rows, in the given order; ``padding_idx`` counts in the new one.

    Raises:
        UserError: the module is no table of rows.
    """
    if hasattr(table, "keep_rows"):
        made: nn.Module = table.keep_rows(rows, padding_idx)
        return made
    if type(table) is not nn.Embedding:
        raise UserError("this embedding has no rows to choose from", where="vocabulary", found=type(table).__name__, expected="a table")
    new = nn.Embedding(len(rows), table.embedding_dim, padding_idx=padding_idx)
    new.weight.data.copy_(table.weight.data[rows])
    new.weight.requires_grad_(table.weight.requires_grad)
    return new
