"""The order of a vector's numbers: turning vectors to their principal directions, so that the first numbers say most."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from imbik.errors import UserError
from imbik.models.sentences.pooling import Pooling, pool_as, pooling_of

_ORDERED = "imbik_ordered"


def is_ordered(config: PretrainedConfig) -> bool:
    """Return whether the first numbers of a model's vectors say most."""
    return bool(getattr(config, _ORDERED, False))


def set_ordered(config: PretrainedConfig) -> None:
    """Write into a config that its model's vectors are ordered."""
    setattr(config, _ORDERED, True)


def leading(vectors: NDArray[np.float32], size: int) -> tuple[NDArray[np.float32], float]:
    """Return leading eigenvectors as rows, and the share of the squares in them.

    They are the ``size`` largest ones of the second moment of vectors ``(N, D)``.

    >>> rows, kept = leading(np.array([[3.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 0.0]], np.float32), 1)
    >>> np.abs(rows).tolist(), round(kept, 2)
    ([[0.0, 1.0, 0.0]], 0.64)
    """
    exact = vectors.astype(np.float64)
    values, columns = np.linalg.eigh(exact.T @ exact)
    # eigh sorts upwards: the leading ones are the last
    return np.ascontiguousarray(columns[:, ::-1][:, :size].T, np.float32), float(values[::-1][:size].sum() / max(values.sum(), 1e-30))


@torch.no_grad()
def put_behind(model: PreTrainedModel, directions: torch.Tensor, where: str) -> None:
    """Multiply the matrix that gives the vector by some directions.

    A model whose vectors are its states gets a matrix.

    Args:
        model: a sentence encoder.
        directions: ``(size, D)``.
        where: names the step in messages.

    Raises:
        UserError: the matrix is factorized or clustered, or something stands behind it.
    """
    pooling = pooling_of(model.config)
    if pooling.dense == "tanh":
        raise UserError("a tanh stands behind the last matrix", where=where, expected="a model whose last matrix gives the vector")
    name = "dense" if hasattr(model, "dense") else "classifier"  # of students without layers
    last = getattr(model, name)
    if last is not None and type(last) is not nn.Linear:  # factorized, clustered: its record in the config would outlive it
        raise UserError("the last matrix is not a plain one", where=where, found=type(last).__name__, expected=f"{where} before it")
    weight = directions if last is None else directions @ last.weight
    bias = None if last is None or last.bias is None else directions @ last.bias
    new = nn.Linear(weight.shape[1], len(weight), bias=bias is not None)
    new.weight.copy_(weight)
    if bias is not None:
        new.bias.copy_(bias)
    setattr(model, name, new.eval())
    if name == "dense":
        pool_as(model.config, Pooling(pooling.mode, pooling.normalize, "identity", bias is not None))
