"""Layers that take the place of a Linear or an Embedding and hold fewer numbers."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from imbik.structure import layer


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

    @property
    def arguments(self) -> dict[str, Any]:
        """See :class:`imbik.structure.Layer`."""
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

    @property
    def arguments(self) -> dict[str, Any]:
        """See :class:`imbik.structure.Layer`."""
        return {
            "num_embeddings": self.num_embeddings,
            "embedding_dim": self.embedding_dim,
            "rank": self.rank,
            "padding_idx": self.padding_idx,
        }

    def forward(self, ids: Tensor) -> Tensor:
        vectors: Tensor = self.projection(self.table(ids))
        return vectors
