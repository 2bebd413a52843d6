"""Soft labels of images that the teacher reads as the student sees them: moved, mirrored, mixed."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from imbik.distillation.soft_labels import SoftLabels
from imbik.errors import UserError
from imbik.images.settings import PIXELS
from imbik.models.inputs import Tensors
from imbik.models.teacher import Teacher
from imbik.training.images.views import Views, seen
from imbik.training.prediction import Batch, run
from imbik.types import Checkpoint


class ViewedLabels(SoftLabels):
    """The mixed loss on another view of each image at every step; the teacher runs in every step too.

    Args:
        of: the teacher; of several that answer together the mean of their logits counts.
        views: how images are changed.
        others: what :class:`imbik.distillation.soft_labels.SoftLabels` takes.
    """

    def __init__(self, of: Teacher, views: Views, *others: Any) -> None:
        super().__init__(*others)
        self.views = views
        # in a tuple: as modules of the loss they would be trained, and put into training mode
        self._teachers = tuple(member.model.eval() for member in of.members.values())

    def see(self, batch: Batch) -> tuple[Batch, Tensors | None]:
        """Return the batch that the student is shown, and what the teacher says of it."""
        if not self.training:
            return batch, None
        shown = seen(batch, self.views)
        return shown, self._said(shown)

    @torch.no_grad()
    def _said(self, batch: Batch) -> Tensors:
        device = batch[PIXELS].device
        if any(parameter.device != device for teacher in self._teachers for parameter in teacher.parameters()):
            self._teachers = tuple(copy.deepcopy(teacher).to(device) for teacher in self._teachers)  # the caller's stay where they are
        logits: list[Any] = [run(teacher, batch, self.task) for teacher in self._teachers]
        mean: Tensor = torch.stack(logits).mean(0)
        return mean


def check_views(student: Checkpoint, teacher: Teacher, views: Views | None, *, asked: bool) -> Views | None:
    """Return the views that student and teachers can share; None: none, as they read images of different kinds.

    Args:
        student, teacher: the models.
        views: how images are changed.
        asked: whether the recipe names them.

    Raises:
        UserError: they cannot share what the recipe names.
    """
    # views are made of pixels that are prepared already
    own = student.tokenizer.to_str()
    alike = all(member.tokenizer.to_str() == own for member in teacher.members.values())
    if views is None or alike:
        return views
    if asked:
        raise UserError(
            "student and teacher prepare images differently, so they cannot see the same views",
            where="distill.views",
            found="another preprocessor_config.json",
            expected="the teacher's, or views: false",
        )
    return None
