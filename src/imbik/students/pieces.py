"""Vectors of word pieces from a teacher: what its first layer takes of each piece, on the principal directions of the task's texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imbik.models.hooks import first_tensor
from imbik.training.encoding import encode
from imbik.training.precision import precision
from imbik.types import Examples

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_AT_ONCE = 512
"""Pieces of a forward pass."""


class _Reached(Exception):
    """The first layer was reached: nothing behind it need run."""


def piece_counts(tokenizer: PreTrainedTokenizerFast, texts: Examples, rows: int) -> NDArray[np.int64]:
    """Count how often the texts hold each of V pieces, ``(V,)``; special tokens are left out.

    Every text has those, and the mean of the texts would be theirs.
    """
    counts = np.bincount(encode(texts, tokenizer).ids, minlength=rows)
    counts[[index for index in tokenizer.all_special_ids if index < rows]] = 0
    return counts


@torch.inference_mode()
def piece_states(model: PreTrainedModel, first_layer: str, rows: int) -> Tensor:
    """Return what the first layer takes of each piece standing alone, ``(V, H)``.

    Args:
        model: an encoder in evaluation mode.
        first_layer: the path of its first layer.
        rows: V.
    """
    states: list[Tensor] = []

    def keep(_module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        found = first_tensor((*arguments, *keywords.values()))
        assert found is not None, "a layer takes a tensor"
        states.append(found[:, 0].float())
        raise _Reached

    hook = model.get_submodule(first_layer).register_forward_pre_hook(keep, with_kwargs=True)
    try:
        for start in range(0, rows, _AT_ONCE):
            try:
                model(input_ids=torch.arange(start, min(start + _AT_ONCE, rows)).unsqueeze(1))
            except _Reached:
                continue
    finally:
        hook.remove()
    return torch.cat(states)


@torch.inference_mode()
def read_alone(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, rows: int) -> Tensor:
    """Return what the model's last layer says of each piece as a text of its own, ``(V, 2 H)``: its first token, and the piece itself.

    The piece stands between the tokenizer's special tokens. Vectors of words from an encoder's outputs: Tulkens, van Dongen 2024
    (Model2Vec).

    Args:
        model: an encoder in evaluation mode.
        tokenizer: its own.
        rows: V.
    """
    around, with_letter = (list(tokenizer(text)["input_ids"]) for text in ("", "a"))
    # special tokens are what an empty text has; the piece comes where a letter parts them
    place = next((at for at, (one, other) in enumerate(zip(around, with_letter, strict=False)) if one != other), len(around))
    alone = torch.tensor([*around[:place], 0, *around[place:]]).repeat(rows, 1)  # (V, T)
    alone[:, place] = torch.arange(rows)
    states = []
    for ids in alone.split(_AT_ONCE):
        with precision(ids.device):
            found = model.base_model(input_ids=ids)[0].float()
        states.append(torch.cat([found[:, 0], found[:, place]], dim=1))
    return torch.cat(states)


def principal_pieces(states: Tensor, counts: NDArray[np.int64], width: int) -> Tensor:
    """Project piece states on their principal directions.

    With p_i the share of piece i in the texts, μ = Σ p_i x_i and C = Σ p_i (x_i - μ)(x_i - μ)ᵀ, piece i gets Uᵀ(x_i - μ), U the
    leading eigenvectors of C; then all are scaled to a mean square of 1 over the texts.

    Args:
        states: ``(V, H)``.
        counts: how often the texts hold each piece, ``(V,)``; where they hold none, every piece counts alike.
        width: how many directions; those above H are drawn at random.

    Returns:
        ``(V, width)``.
    """
    share = torch.from_numpy(counts.astype(np.float64))
    share = share / share.sum() if counts.any() else torch.full_like(share, 1.0 / len(share))
    centered = states.double() - share @ states.double()
    _, directions = torch.linalg.eigh((centered * share.unsqueeze(1)).T @ centered)
    # eigh sorts eigenvalues upwards: the leading directions are the last columns
    found = centered @ directions[:, -min(width, states.shape[1]) :].flip(1)
    found = found / (share @ found.square()).mean().sqrt().clamp_min(1e-12)
    drawn = torch.randn(len(found), max(0, width - found.shape[1]))
    return torch.cat([found.float(), drawn], dim=1)
