"""Nested vectors: the first numbers of a student's vector are a shorter vector of the same text (Matryoshka representations)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from imbik.distillation.soft_labels import SoftLabels, Wrap
from imbik.errors import UserError
from imbik.models.inputs import Tensors
from imbik.models.sentences.ordering import leading, put_behind, set_ordered
from imbik.tasks.outputs import only as one_array
from imbik.tasks.registry import task_of
from imbik.training.context import Context
from imbik.training.encoding import encode_for
from imbik.training.heads import EmbeddingHead, only
from imbik.training.loop import Evaluate
from imbik.training.prediction import predict
from imbik.types import Checkpoint, Note

WHERE = "distill.nested"


class NestedHead(EmbeddingHead):
    """The loss of vectors against the teacher's on its principal directions, and of their first numbers against its cosines.

    With t' = R t, R the eigenvectors of E[t tᵀ] over train, the largest first, and s[:d] the first d numbers of the student's vector:
    L(s, t') + Σ_d λ mean (cos(s_i[:d], s_j[:d]) - cos(t_i, t_j))² (after Kusupati et al. 2022, "Matryoshka Representation Learning", arXiv
    2205.13147, whose losses of several widths are of labels).

    Args:
        directions: R, ``(D, D)``.
        widths: every d.
    """

    def __init__(self, directions: Tensor, widths: Sequence[int]) -> None:
        self.directions, self.widths = directions, tuple(widths)

    def comparable(self, teacher: Tensor) -> Tensor:
        """Return the teacher's vectors turned, which changes no cosine."""
        return teacher @ self.directions.to(teacher).T

    def distillation_loss(self, student: Tensors, teacher: Tensors, temperature: float, mask: Tensor | None = None) -> Tensor:
        """Compute the loss of vectors ``(B, D)``; a temperature has no meaning."""
        ours, turned = only(student), self.comparable(only(teacher))
        nested = [self.relations(ours[:, :width], turned) for width in self.widths]
        return super().distillation_loss(ours, turned, temperature) + torch.stack(nested).sum()


def nest(checkpoint: Checkpoint, context: Context, widths: Sequence[int]) -> Wrap:
    """Turn a student's vectors to its teacher's principal directions, in place, and return what makes their first numbers learn.

    Args:
        checkpoint: the student.
        context: teacher and data.
        widths: numbers that are to be a vector of their own.

    Raises:
        UserError: a width that is none of the vectors', or a last matrix that cannot be turned.
    """
    full = int(checkpoint.model.config.num_labels)
    if max(widths) >= full:
        raise UserError("the vectors have no more dimensions", where=WHERE, found=max(widths), expected=f"fewer than {full}")
    train = context.splits.train
    directions, _ = leading(context.cache.logits(train, context.progress).take(np.arange(len(train.texts))), full)
    turn = torch.from_numpy(directions)
    put_behind(checkpoint.model, turn, WHERE)
    set_ordered(checkpoint.model.config)

    def wrap(loss: nn.Module, evaluate: Evaluate) -> tuple[nn.Module, Evaluate]:
        assert isinstance(loss, SoftLabels), "the loss of soft labels"
        loss.head = NestedHead(turn, widths)
        return loss, evaluate

    return wrap


def nested_note(checkpoint: Checkpoint, context: Context, widths: Sequence[int]) -> Note:
    """Return what the first numbers of a student's vectors are worth on dev."""
    splits, task = context.splits, task_of(context.splits.task)
    vectors = one_array(predict(checkpoint.model, encode_for(task.name, splits.dev, checkpoint.tokenizer), task.name))
    targets = np.asarray(splits.dev.targets)
    scores = {width: float(task.score(splits.metric, vectors[..., :width], targets)) for width in (*sorted(widths), vectors.shape[-1])}
    return Note.of("nested", metric=splits.metric, found=", ".join(f"{width}: {score:.4f}" for width, score in scores.items()))
