"""The table of word vectors of a model: find it, replace it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from imbik.models.layers.factorized_embedding import FactorizedEmbedding
from imbik.models.structure import replace_module

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def table_of(model: PreTrainedModel) -> nn.Module:
    """Return the module that holds the word vectors, one row per id.

    That is the input embedding, or the table inside a factorized one.
    """
    embedding: nn.Module = model.get_input_embeddings()
    return embedding.table if isinstance(embedding, FactorizedEmbedding) else embedding


def set_table(model: PreTrainedModel, table: nn.Module) -> None:
    """Put ``table`` where :func:`table_of` finds one."""
    embedding = model.get_input_embeddings()
    if isinstance(embedding, FactorizedEmbedding):
        embedding.table = table
    else:
        model.set_input_embeddings(table)


def replace_table(model: PreTrainedModel, embedding: nn.Module) -> None:
    """Make ``embedding`` the input embedding for good.

    Layers of imbik, it or inside it, are recorded in the model's structure.
    """
    old = model.get_input_embeddings()
    path = next(name for name, module in model.named_modules() if module is old)
    model.set_input_embeddings(embedding)
    for name, module in list(embedding.named_modules(prefix=path)):
        # A table inside a factorized embedding may be clustered: both are layers to be recorded.
        if hasattr(module, "layer_name"):
            replace_module(model, name, module)
