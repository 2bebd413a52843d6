"""The tables of a model: find and replace that of word vectors, and how many positions it can read."""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from transformers import AutoModel

from imbik.models.layers.factorized_embedding import FactorizedEmbedding
from imbik.models.structure import replace_module

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

_POSITIONS = re.compile(r"(^|[._])(pos|position|positions)_embeddings?$|embed_positions$|(^|\.)wpe$")
"""What tables of positions are called in the architectures of transformers."""


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


def positions_of(model: PreTrainedModel | PretrainedConfig) -> int:
    """Return the longest row that a model, or one of this config, can read.

    A very large number where nothing bounds it.
    """
    stated = int(getattr(getattr(model, "config", model), "max_position_embeddings", 0) or 0)
    # XLNet, which has no table of positions, states -1
    bounds = [stated] if stated > 0 else []
    tables = _position_tables(model)
    # A table that is read from behind its padding row states its rows; BART's has two rows more than it states.
    behind = [rows - offset for rows, offset in tables if offset]
    return min([*behind, *([] if behind else bounds), *(rows for rows, offset in tables if not offset)], default=10**9)


def position_offset(model: PreTrainedModel | PretrainedConfig) -> int:
    """Return the row of the position table that the first token of a text reads.

    RoBERTa and its kin begin behind the padding row.
    """
    return max((offset for _, offset in _position_tables(model)), default=0)


def _position_tables(model: PreTrainedModel | PretrainedConfig) -> list[tuple[int, int]]:
    """Return rows and first row read of every table of positions."""
    if not isinstance(model, nn.Module):
        return list(_tables_of_config(model.__class__, model.to_json_string()))
    found = []
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if _POSITIONS.search(name) and isinstance(weight, Tensor) and weight.ndim == 2:
            padding = getattr(module, "padding_idx", None)
            found.append((len(weight), 0 if padding is None else int(padding) + 1))
    return found


@functools.lru_cache(maxsize=32)
def _tables_of_config(kind: type[PretrainedConfig], config: str) -> tuple[tuple[int, int], ...]:
    """Return the same of a config (as JSON): architectures tell it by their modules, not by a field."""
    with torch.device("meta"):  # no memory and no random numbers
        return tuple(_position_tables(AutoModel.from_config(kind.from_dict(json.loads(config)))))
