"""How the states of a text's tokens become one vector, as a model's config records it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from imbik.errors import UserError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

MODES = ("mean", "cls", "max")
"""What can be made of a text's states: their mean, the first one, the largest number of each dimension."""

ACTIVATIONS = {"identity": "torch.nn.modules.linear.Identity", "tanh": "torch.nn.modules.activation.Tanh"}
"""What may follow the matrix behind the pooling, by the name that sentence-transformers writes."""

_FIELD = "imbik_sentence"


@dataclass(frozen=True)
class Pooling:
    """What stands between the last layer and the vector.

    Attributes:
        mode: one of :data:`MODES`.
        normalize: whether vectors have the length 1.
        dense: the activation behind a matrix that gives the vector, one of :data:`ACTIVATIONS`; None: there is no matrix, and the vector
            is as wide as the states.
        bias: whether that matrix adds one.
    """

    mode: str = "mean"
    normalize: bool = True
    dense: str | None = None
    bias: bool = False


def pooling_of(config: PretrainedConfig, where: object = "config.json") -> Pooling:
    """Return what a config records of its model's pooling.

    Of one that records nothing the mean, normalized, of the config's width.

    Raises:
        UserError: what stands there is not what imbik writes.
    """
    found = getattr(config, _FIELD, None)
    if found is None:
        return Pooling(dense=None if config.num_labels == config.hidden_size else "identity")
    try:
        pooling = Pooling(**found)
        fits = pooling.mode in MODES and (pooling.dense is None or pooling.dense in ACTIVATIONS)
    except TypeError:
        fits = False
    if not fits:
        raise UserError("broken pooling of a sentence encoder", where=f"{where}, {_FIELD}", found=found, fix="copy the folder again")
    return pooling


def pool_as(config: PretrainedConfig, pooling: Pooling) -> None:
    """Write into a config how its model pools."""
    setattr(config, _FIELD, asdict(pooling))


def inherit_pooling(config: PretrainedConfig, teacher: PretrainedConfig) -> None:
    """Write a teacher's pooling into the config of a student.

    Where its states are not as wide as the teacher's vectors, a matrix makes its vectors so.
    """
    if not hasattr(teacher, _FIELD):
        return
    given = pooling_of(teacher)
    # a teacher's own matrix is inherited even by a student of its width: it is part of what the vectors mean
    wide = getattr(config, "hidden_size", None) == config.num_labels
    pool_as(config, Pooling(given.mode, given.normalize, given.dense or (None if wide else "identity"), given.bias))


def pooled(states: Tensor, mask: Tensor, mode: str) -> Tensor:
    """Return one vector a text, ``(B, H)``, of its states ``(B, T, H)``.

    Padding, where the mask ``(B, T)`` is 0, counts for nothing.

    >>> states = torch.tensor([[[1.0, 4.0], [3.0, 2.0], [9.0, 9.0]]])
    >>> [pooled(states, torch.tensor([[1, 1, 0]]), mode).tolist() for mode in MODES]
    [[[2.0, 3.0]], [[1.0, 4.0]], [[3.0, 4.0]]]
    """
    if mode == "cls":
        return states[:, 0]
    keep = mask.unsqueeze(-1).float()  # (B, T, 1)
    if mode == "max":
        # not -inf: 0 · inf is no number, and a text of padding alone must have a vector
        return (states.float() * keep + (keep - 1.0) * 1e9).amax(1).to(states.dtype)
    # in float32: a sum over hundreds of tokens loses what bf16 has of digits
    return ((states.float() * keep).sum(1) / keep.sum(1).clamp(min=1e-9)).to(states.dtype)


def finished(vectors: Tensor, pooling: Pooling, dense: nn.Module | None) -> Tensor:
    """Return vectors ``(B, D)`` of what was pooled, ``(B, H)``.

    They go through the matrix and its activation, and get the length 1 where the model says so.
    """
    if dense is not None:
        vectors = dense(vectors)
        if pooling.dense == "tanh":
            vectors = torch.tanh(vectors)
    # bf16 has eight significant bits: lengths would be off by some tenths of a percent
    vectors = vectors.float()
    return nn.functional.normalize(vectors, dim=-1) if pooling.normalize else vectors
