"""Vectors of a sentence encoder on fewer dimensions: their leading principal directions."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch

from imbik.errors import UserError
from imbik.methods.registry import Method, method
from imbik.models.checkpoint import set_labels
from imbik.models.sentences.ordering import is_ordered, leading, put_behind
from imbik.tasks.registry import task_of
from imbik.training.context import Context
from imbik.training.settings import Count
from imbik.types import Checkpoint, Note


@method("dimensions")
class Dimensions(Method):
    """Keep ``size`` numbers of each vector: y = P v, where the rows of P are the leading eigenvectors of E[v vᵀ] over the teacher's vectors
    of train.

    The mean is not taken off, since cosines are of vectors as they are. P becomes part of the last matrix, so that it costs no time; where
    vectors are normalized, they are so behind it. A student of nested vectors (``distill: {nested: …}``) keeps its first numbers, which are
    those directions. It stands behind all that learns from the teacher, whose vectors keep their dimensions.

    Attributes:
        size: D of the vectors, below what they have.
    """

    narrows: ClassVar[bool] = True
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
        old = int(model.config.num_labels)
        if self.size >= old:
            raise UserError("the vectors have no more dimensions", where="dimensions.size", found=self.size, expected=f"fewer than {old}")
        # the teacher's and not the student's own: a short training has not settled the directions of the student yet
        vectors = context.cache.logits(train, context.progress).take(np.arange(len(train.texts)))
        directions, kept = leading(vectors, self.size)
        if is_ordered(model.config):  # its numbers are those directions already
            directions = np.eye(self.size, old, dtype=np.float32)
        put_behind(model, torch.from_numpy(directions), "dimensions")
        set_labels(model.config, checkpoint.task, tuple(map(str, range(self.size))))
        note = Note.of("dimensions", size=self.size, before=old, kept=kept)
        return replace(checkpoint, notes=(*checkpoint.notes, note))
