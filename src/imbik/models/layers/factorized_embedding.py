"""A table of word vectors written as a product of two matrices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from imbik.errors import UserError
from imbik.models.layers.registry import layer


# The name is written into config.json of saved models: its spelling stays as it was.
@layer("factorised_embedding")
class FactorizedEmbedding(nn.Module):
    """Embedding of a table (V × E) and a projection (E × H) in the place of a table (V × H).

    As in ALBERT (Lan et al. 2020, arXiv 1909.11942).

    Attributes:
        table: ``nn.Embedding(V, E)``.
        projection: E -> H, without bias.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, rank: int, padding_idx: int | None = None) -> None:
        super().__init__()
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.rank = rank
        self.padding_idx = padding_idx
        self.table = nn.Embedding(num_embeddings, rank, padding_idx)
        self.projection = nn.Linear(rank, embedding_dim, bias=False)

    @classmethod
    def of(cls, table: Tensor, projection: Tensor, padding_idx: int | None) -> FactorizedEmbedding:
        """Make the embedding of a table ``(V, E)`` and a projection ``(H, E)``."""
        embedding = cls(len(table), len(projection), table.shape[1], padding_idx)
        with torch.no_grad():
            embedding.table.weight.copy_(table)
            embedding.projection.weight.copy_(projection)
        return embedding

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the constructor, see :class:`imbik.models.layers.registry.Layer`."""
        return {
            "num_embeddings": self.num_embeddings,
            "embedding_dim": self.embedding_dim,
            "rank": self.rank,
            "padding_idx": self.padding_idx,
        }

    def forward(self, ids: Tensor) -> Tensor:
        # (B, T) -> (B, T, E) -> (B, T, H)
        vectors: Tensor = self.projection(self.table(ids))
        return vectors

    def keep_rows(self, rows: Tensor, padding_idx: int | None) -> FactorizedEmbedding:
        """Return the same projection behind some of the rows, in the given order."""
        new = FactorizedEmbedding(len(rows), self.embedding_dim, self.rank, padding_idx)
        new.table, new.projection = rows_of(self.table, rows, padding_idx), self.projection
        return new


def rows_of(table: nn.Module, rows: Tensor, padding_idx: int | None) -> nn.Module:
    """Return a table of some of the rows, in the given order.

    ``padding_idx`` counts in the new one.

    Raises:
        UserError: the module is no table of rows.
    """
    # Compressed tables know how to keep rows in their own form.
    if hasattr(table, "keep_rows"):
        kept: nn.Module = table.keep_rows(rows, padding_idx)
        return kept
    # Not isinstance: a subclass may hold more than its rows.
    if type(table) is not nn.Embedding:
        raise UserError("this embedding has no rows to choose from", where="vocabulary", found=type(table).__name__, expected="a table")
    new = nn.Embedding(len(rows), table.embedding_dim, padding_idx=padding_idx)
    new.weight.data.copy_(table.weight.data[rows])
    new.weight.requires_grad_(table.weight.requires_grad)
    return new
