"""The rows of a model's tables: those of the pieces that stay, in their new order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imbik.errors import UserError
from imbik.models.layers.factorized_embedding import rows_of
from imbik.models.structure import structure_of
from imbik.models.tables import position_offset, replace_table

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_NAMED = ("pad", "bos", "eos", "cls", "sep", "unk", "mask", "decoder_start")


def fixed_rows(model: PreTrainedModel) -> int:
    """Return how many rows from 0 on must keep their numbers.

    A model that counts positions from its padding id needs that id as it is.
    """
    return int(model.config.pad_token_id or 0) + 1 if position_offset(model) else 0


@torch.no_grad()
def prune_rows(model: PreTrainedModel, old: list[int], tokenizer: PreTrainedTokenizerBase) -> None:
    """Keep the rows ``old`` of the model's tables, in that order; the config's ids follow.

    A masked language model's output table, tied or not, and its bias follow.

    Args:
        model: changed in place.
        old: the old id of every new one.
        tokenizer: the new one.

    Raises:
        UserError: an embedding that has no rows to choose from, or an output table beside layers that imbik replaced.
    """
    table = model.get_input_embeddings()
    # ids are renumbered: the row of the padding token has another number now
    before = getattr(table, "padding_idx", None)
    padding = old.index(before) if before in old else None
    if model.get_output_embeddings() is None:
        replace_table(model, rows_of(table, torch.tensor(old), padding))
    else:
        _prune_both(model, torch.tensor(old), padding)
    # what a model knows of a piece beside its row
    if hasattr(model, "keep_rows"):
        model.keep_rows(torch.tensor(old))
    model.config.vocab_size = len(old)
    for name in _NAMED:
        number = getattr(model.config, f"{name}_token_id", None)
        if number is not None:
            setattr(model.config, f"{name}_token_id", old.index(number) if number in old else getattr(tokenizer, f"{name}_token_id"))


def _prune_both(model: PreTrainedModel, rows: Tensor, padding: int | None) -> None:
    """Put the rows first in every tensor that has one for each piece, and let transformers cut what is behind them."""
    table = model.get_input_embeddings()
    if type(table) is not nn.Embedding or structure_of(model.config):
        raise UserError(
            "the output table of a model with replaced layers cannot be pruned",
            where="vocabulary",
            found=type(model).__name__,
            expected="a plain transformers model, or one without a masked-language-model head",
        )
    size = table.num_embeddings
    # the table (V, H), the output table and its bias (V,): whatever has V along an axis
    for parameter in _unique(model):
        for axis in (axis for axis, length in enumerate(parameter.shape) if length == size):
            parameter.narrow(axis, 0, len(rows)).copy_(parameter.index_select(axis, rows))
    # only now: transformers keeps the first rows, which are the wanted ones since the loop above
    model.resize_token_embeddings(len(rows))
    model.get_input_embeddings().padding_idx = padding


def _unique(model: nn.Module) -> list[Tensor]:
    """Return every tensor with its own memory once: a tied table must be reordered only once."""
    return list({parameter.data_ptr(): parameter.data for parameter in model.parameters()}.values())


def check_same(before: NDArray[np.float32], after: NDArray[np.float32], name: str) -> float:
    """Return the largest difference between answers before and after renumbering.

    Raises:
        UserError: the model computes with the numbers of its ids.
    """
    difference = float(np.abs(before - after).max(initial=0.0))
    # not bit by bit: a model that computes with the numbers of the ids is off by far more than this
    if before.shape == after.shape and np.allclose(before, after, rtol=1e-3, atol=1e-3):
        return difference
    raise UserError(
        "the model answers otherwise with its ids renumbered",
        where="vocabulary",
        found=f"{name}: logits differ by {difference:.3g}",
        expected="a model that only looks its ids up",
        fix="leave the vocabulary step out for this teacher",
    )
