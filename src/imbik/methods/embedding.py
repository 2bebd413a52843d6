"""The embedding table as a smaller table and a projection, by singular value decomposition."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt
from numpy.typing import NDArray
from pydantic import model_validator

from imbik.errors import UserError
from imbik.factorization.decomposition import decompose, largest_rank, tail
from imbik.methods.registry import Method, method
from imbik.models.layers.factorized_embedding import FactorizedEmbedding
from imbik.models.structure import replace_module
from imbik.training.context import Context
from imbik.training.encoding import encode
from imbik.types import Checkpoint, Note


@method("embedding")
class Embedding(Method):
    """The word table (V × H) becomes a table (V × E) and a projection (E × H), the shape that ALBERT has from the start (Lan et al.
    2020, arXiv 1909.11942), here from the table's own singular value decomposition.

    With ``weights: frequency`` a row counts as often as its piece occurs in the train texts (plus one), so that what is lost is least for
    the vectors that are read: Σ_w (count_w + 1) · ‖t_w - u_w V‖² (a row-weighted SVD). It saves bytes; a text takes E × H more
    multiplications per token. Recovery is a ``distill`` step of its own.

    Attributes:
        rank: E; or
        energy: the least E that keeps this share of the (weighted) energy.
        weights: ``frequency``, or ``none``: every row counts the same.
    """

    rank: Annotated[int, Ge(1)] | None = None
    energy: Annotated[float, Gt(0), Lt(1)] | None = None
    weights: Literal["frequency", "none"] = "frequency"

    @model_validator(mode="after")
    def _one_size(self) -> Embedding:
        if (self.rank is None) == (self.energy is None):
            raise ValueError("either rank or energy")
        return self

    def apply(self, checkpoint: Checkpoint, context: Context) -> Checkpoint:
        """Return the checkpoint with a factorized table; one that is factorized already is cut further, never enlarged.

        Raises:
            UserError: E at or above V · H / (V + H), which makes the table larger.
        """
        model = checkpoint.model
        old = model.get_input_embeddings()
        # of a factorized table the product is decomposed: what is lost of its two factors one by
        # one says nothing about the vectors that the layers read
        table = old.projection(old.table.weight) if isinstance(old, FactorizedEmbedding) else old.weight
        counts = self._counts(checkpoint, context, len(table))
        # (V, E) and (E, H); float64, because the counts weight rows by a factor of up to millions
        up, down = self._factors(table.detach().double().numpy(), counts)
        # a rank that is not below the present one would only round the same product anew
        if isinstance(old, FactorizedEmbedding) and down.shape[0] >= old.rank:
            return checkpoint
        new = FactorizedEmbedding.of(torch.from_numpy(up), torch.from_numpy(down.T), old.padding_idx)
        replace_module(model, next(name for name, module in model.named_modules() if module is old), new.eval())
        (rows, width), rank = table.shape, down.shape[0]
        left = (rows + width) * rank / (rows * width)
        note = Note.of("embedding", rows=rows, width=width, rank=rank, left=left)
        return replace(checkpoint, notes=(*checkpoint.notes, note))

    def _counts(self, checkpoint: Checkpoint, context: Context, rows: int) -> NDArray[np.float64] | None:
        if self.weights == "none":
            return None
        ids = encode(context.splits.train, checkpoint.tokenizer).ids
        # plus one: without it the row of a piece that train never shows could become anything at
        # all
        return 1.0 + np.bincount(np.asarray(ids), minlength=rows).astype(np.float64)

    def _factors(self, table: NDArray[np.float64], counts: NDArray[np.float64] | None) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return ``(V, E)`` and ``(E, H)``."""
        most = largest_rank(*table.shape)
        parts = decompose(table.T, counts)  # a text reads the table by y = tableᵀ · one-hot, so that E[x xᵀ] is the pieces' frequency
        if self.rank is not None:
            rank = self.rank
        else:
            assert self.energy is not None
            # tail(values)[r - 1] is what is lost with r columns, hence the 1 +
            rank = 1 + int(np.searchsorted(1 - tail(parts.values), self.energy))
        if rank > most:
            raise UserError(
                "the factorized table would be larger than the table",
                where="embedding.rank" if self.rank is not None else "embedding.energy",
                found=f"{rank} columns",
                expected=f"at most {most}, below V·H/(V+H) for {table.shape[0]} rows of {table.shape[1]}",
            )
        up, down = parts.factors(rank)
        # decomposed was the transposed table, so the two factors change places
        return down.T, up.T
