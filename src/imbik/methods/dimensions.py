"""Vectors of a sentence encoder on fewer dimensions: their leading principal directions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from imbik.errors import UserError
from imbik.methods.registry import Method, method
from imbik.models.checkpoint import set_labels
from imbik.models.sentences.pooling import Pooling, pool_as, pooling_of
from imbik.tasks.registry import task_of
from imbik.training.context import Context
from imbik.training.settings import Count
from imbik.types import Checkpoint, Note


@method("dimensions")
class Dimensions(Method):
    """Keep ``size`` numbers of each vector: y = P v, where the rows of P are the leading eigenvectors of E[v vᵀ] over the teacher's vectors
    of train.

    The mean is not taken off, since cosines are of vectors as they are. P becomes part of the last matrix, so that it costs no time; where
    vectors are normalized, they are so behind it. It stands behind all that learns from the teacher, whose vectors keep their dimensions.

    Attributes:
        size: D of the vectors, below what they have.
    """

    size: Count = 128

    def refuse_task(self, task: str) -> str | None:
        """Refuse models that give labels or values: none of them can be left out."""
        return None if task_of(task).apart else "a model that gives vectors (embedding)"

    def refuse_before(self, later: Method) -> str | None:
        """Refuse what compares with the teacher's vectors, which have more dimensions."""
        return (
            None if later.quantizes and not later.trains_every_weight else "dimensions behind it: the teacher's vectors have more of them"
        )

    def apply(self, checkpoint: Checkpoint, context: Context) -> Checkpoint:
        """Return the checkpoint with narrower vectors.

        Raises:
            UserError: the vectors are not wider than ``size``, or something stands behind the last matrix.
        """
        model, train = checkpoint.model, context.splits.train
        old, pooling = int(model.config.num_labels), pooling_of(model.config)
        if self.size >= old:
            raise UserError("the vectors have no more dimensions", where="dimensions.size", found=self.size, expected=f"fewer than {old}")
        if pooling.dense == "tanh":
            raise UserError(
                "a tanh stands behind the last matrix", where="dimensions", expected="a model whose last matrix gives the vector"
            )
        # the teacher's and not the student's own: a short training has not settled the directions of the student yet
        vectors = context.cache.logits(train, context.progress).take(np.arange(len(train.texts)))
        directions, kept = leading(vectors, self.size)
        _behind(model, torch.from_numpy(directions), pooling)
        set_labels(model.config, checkpoint.task, tuple(map(str, range(self.size))))
        note = Note.of("dimensions", size=self.size, before=old, kept=kept)
        return replace(checkpoint, notes=(*checkpoint.notes, note))


def leading(vectors: NDArray[np.float32], size: int) -> tuple[NDArray[np.float32], float]:
    """Return the ``size`` leading eigenvectors of the second moment of vectors ``(N, D)``, as rows, and the share of the squares in them.

    >>> rows, kept = leading(np.array([[3.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 0.0]], np.float32), 1)
    >>> np.abs(rows).tolist(), round(kept, 2)
    ([[0.0, 1.0, 0.0]], 0.64)
    """
    exact = vectors.astype(np.float64)
    values, columns = np.linalg.eigh(exact.T @ exact)
    # eigh sorts upwards: the leading ones are the last
    return np.ascontiguousarray(columns[:, ::-1][:, :size].T, np.float32), float(values[::-1][:size].sum() / max(values.sum(), 1e-30))


@torch.no_grad()
def _behind(model: Any, directions: torch.Tensor, pooling: Pooling) -> None:
    """Multiply the matrix that gives the vector by the directions ``(size, D)``; one that gives the states gets a matrix."""
    name = "dense" if hasattr(model, "dense") else "classifier"  # of students without layers
    last = getattr(model, name)
    if last is not None and type(last) is not nn.Linear:  # factorized, clustered: its record in the config would outlive it
        raise UserError(
            "the last matrix is not a plain one", where="dimensions", found=type(last).__name__, expected="dimensions before it"
        )
    weight = directions if last is None else directions @ last.weight
    bias = None if last is None or last.bias is None else directions @ last.bias
    new = nn.Linear(weight.shape[1], len(weight), bias=bias is not None)
    new.weight.copy_(weight)
    if bias is not None:
        new.bias.copy_(bias)
    setattr(model, name, new.eval())
    if name == "dense":
        pool_as(model.config, Pooling(pooling.mode, pooling.normalize, "identity", bias is not None))
