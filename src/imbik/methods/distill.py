"""Soft-label distillation (Hinton, Vinyals, Dean 2015, arXiv 1503.02531)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, ClassVar

from annotated_types import Ge, Lt
from pydantic import model_validator

from imbik.distillation.augmentation import Augment, files_of
from imbik.distillation.image_labels import ViewedLabels, check_views
from imbik.distillation.nested import nest, nested_note
from imbik.distillation.scored import with_scores
from imbik.distillation.soft_labels import Make, chained, train_on_soft_labels
from imbik.methods.registry import Method, method
from imbik.models.teacher import Teacher
from imbik.tasks.outputs import IMAGES
from imbik.tasks.registry import task_of
from imbik.training.context import Context
from imbik.training.images.views import ViewsField, views_of
from imbik.training.prediction import quality_of
from imbik.training.settings import Count, Positive, Share, TrainedOnDev
from imbik.types import Checkpoint, Note


@method("distill")
class Distill(TrainedOnDev, Method):
    """Train the student on the teacher's logits.

    L = (1 - hard) · T² · KL(softmax(z_teacher / T) ‖ softmax(z_student / T)) + hard · L_labels. Multi-label uses a sigmoid per label,
    regression the squared difference to the teacher. ``--unlabelled`` texts join with the teacher's logits alone. The epoch that is
    best on dev is kept.

    Attributes:
        temperature: T > 0; above 1 it shows the student how the teacher ranks the wrong classes.
        hard: weight of the labels, 0 to 1.
        augment: more texts made of the task's own, labelled by the teacher, see
            :class:`imbik.distillation.augmentation.Augmentation`; ``false``: none.
        piece_dropout: share of a text's pieces that the student does not see in a step (Iyyer et al. 2015): against learning few texts by
            heart.
        nested: widths d; of models that give vectors, whose first d numbers are then vectors too, see
            :class:`imbik.distillation.nested.NestedHead`. The numbers are turned to the teacher's principal directions: cosines are kept,
            but no vector of the student's can be compared with one of the teacher's.
        scores: weight of the scores of train's pairs, 0 to 1, of models that give vectors, see
            :class:`imbik.distillation.scored.ScoredLabels`.
        views: how images are changed at every step, student and teacher alike, see :class:`imbik.training.images.views.Views`: ``auto``
            (moved, mirrored and, where no labels are learned from, mixed), ``false``, or a mapping.
        the others: see :class:`imbik.training.settings.TrainedOnDev`.
    """

    keeps_shape: ClassVar[bool] = True
    images: ClassVar[bool] = True
    later: ClassVar[Mapping[str, object]] = {
        **TrainedOnDev.later,
        "piece_dropout": 0.0,
        "nested": (),
        "scores": 0.0,
        "views": "auto",
    }
    temperature: Positive = 2.0
    hard: Share = 0.0
    augment: Augment = False
    piece_dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    nested: tuple[Count, ...] = ()
    scores: Share = 0.0
    views: ViewsField = "auto"

    @model_validator(mode="after")
    def _labelled(self) -> Distill:
        if self.hard and isinstance(self.views, dict) and self.views["mix"]:
            raise ValueError("views: {mix: 0} with hard above 0: no label says what a mixed image shows")
        return self

    def refuse_before(self, later: Method) -> str | None:
        """Refuse what compares turned vectors with the teacher's."""
        if not self.nested or (later.quantizes and not later.trains_every_weight) or later.narrows:
            return None
        return "nested in the last step that learns from the teacher: its vectors are not turned"

    def refuse_task(self, task: str) -> str | None:
        """Return why the settings are not for a task: no pieces are hidden where each is answered, only vectors are nested, images alone
        have views.
        """
        if (self.nested or self.scores) and not task_of(task).apart:
            return "nested: [] and scores: 0 where no vectors are given"
        if task_of(task).reads == IMAGES:
            return "augment: false and piece_dropout: 0 (images have views instead)" if self.augment or self.piece_dropout else None
        if self.views != "auto":
            return "views: auto (texts have augment instead)"
        return "piece_dropout: 0 where every token is answered" if self.piece_dropout and not task_of(task).one_row else None

    def apply(self, checkpoint: Checkpoint, context: Context) -> Checkpoint:
        """Return the student after training, or as it was where no epoch made it better on dev; ``(B, L)`` logits like the teacher's.

        Raises:
            UserError: the student has another number of labels than the teacher.
        """
        wraps = [nest(checkpoint, context, self.nested)] if self.nested else []
        wraps += [with_scores(context.splits, self.scores)] if self.scores else []
        make, notes = self._viewed(checkpoint, context)
        checkpoint = replace(checkpoint, notes=(*checkpoint.notes, *notes))
        state = train_on_soft_labels(
            checkpoint,
            context,
            self,
            temperature=self.temperature,
            hard=self.hard,
            augment=self.augment,
            piece_dropout=self.piece_dropout,
            wrap=chained(wraps),
            make=make,
        )
        if self.nested:
            checkpoint = replace(checkpoint, notes=(*checkpoint.notes, nested_note(checkpoint, context, self.nested)))
        # the start stood for election too (keep_start): -1 says that training gained nothing on
        # dev, which a user who waited for it should read in the model card
        if state.best_epoch < 0:
            note = Note.of("kept_start", score=quality_of(context.splits, state.best_score))
            return replace(checkpoint, notes=(*checkpoint.notes, note))
        return checkpoint

    def _viewed(self, checkpoint: Checkpoint, context: Context) -> tuple[Make | None, tuple[Note, ...]]:
        """Return what makes the loss of images in other views; None: images stay as they are."""
        views = views_of(self.views, images=task_of(checkpoint.task).reads == IMAGES)
        if views is not None and self.hard:
            views = replace(views, mix=0.0)
        shared = check_views(checkpoint, context.teacher, views, asked=self.views != "auto") if views is not None else None
        if shared is None:
            return None, () if views is None else (Note.of("views_differ"),)
        return partial(ViewedLabels, context.teacher, shared), ()

    def reads(self, teacher: Teacher) -> list[str]:
        """Return the files and folders that augmentation reads."""
        return files_of(self.augment)
