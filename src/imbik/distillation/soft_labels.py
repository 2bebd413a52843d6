"""Training on a teacher's soft labels, and what such training is evaluated on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from imbik.data.text_store import TextStore
from imbik.distillation.augmentation import with_augmented
from imbik.errors import UserError
from imbik.models.inputs import Tensors
from imbik.tasks.registry import task_of
from imbik.training.context import Context
from imbik.training.encoding import Encoded, encode_for
from imbik.training.heads import head_of
from imbik.training.loop import Evaluate, fit
from imbik.training.prediction import Batch, RowTargets, dev_score, mask_of, run
from imbik.training.settings import TrainedOnDev, training_of
from imbik.training.state import State
from imbik.training.teacher_cache import TeacherLogits
from imbik.types import Checkpoint, Examples, Splits, TaskName

Make = Callable[..., nn.Module]
"""Makes a loss of what :class:`SoftLabels` takes."""
Wrap = Callable[[nn.Module, Evaluate], tuple[nn.Module, Evaluate]]


def train_on_soft_labels(
    checkpoint: Checkpoint,
    context: Context,
    settings: TrainedOnDev,
    *,
    temperature: float,
    hard: float,
    augment: bool | dict[str, Any] = False,
    piece_dropout: float = 0.0,
    make: Make | None = None,
    what: str = "distilling",
    wrap: Wrap | None = None,
) -> State:
    """Train ``checkpoint.model`` in place on the teacher's logits.

    Args:
        checkpoint: the student.
        context: teacher, data, cache.
        settings: how training goes.
        temperature: T of the loss.
        hard: weight of the labels, 0 to 1.
        augment: a field of the kind :data:`imbik.distillation.augmentation.Augment`.
        piece_dropout: share of a text's pieces that the student does not see, see :class:`SoftLabels`.
        make: makes the loss; None: :class:`SoftLabels` does.
        what: what progress calls it.
        wrap: gives the loss and the dev score that are used in the place of those it is given; the loss's own parameters train too.

    Raises:
        UserError: the student has another number of labels than the teacher.
    """
    check_labels(checkpoint, context.teacher)
    rows = with_augmented(learning_rows(context.splits), augment, context)
    data = encode_for(checkpoint.task, rows, checkpoint.tokenizer)
    dev = encode_for(checkpoint.task, context.splits.dev, checkpoint.tokenizer)
    teacher = context.cache.logits(rows, context.progress)
    _check_same_tokens(data, teacher)
    targets = RowTargets.of(context.splits, context.splits.train, data)
    unit = head_of(checkpoint.task).unit(context.teacher.model)
    how = (checkpoint.task, teacher, targets, temperature, hard, unit, piece_dropout)
    loss: nn.Module = SoftLabels(*how) if make is None else make(*how)
    evaluate: Evaluate = dev_score(context.splits, dev)
    if wrap is not None:
        loss, evaluate = wrap(loss, evaluate)
    without_dropout(checkpoint.model)
    return fit(
        checkpoint.model,
        loss,
        data,
        training_of(settings, int(data.offsets[-1])),
        context.training(),
        what=what,
        evaluate=evaluate,
        pieces=np.union1d(data.pieces(), dev.pieces()),
        # what an earlier step made good must not come out worse
        keep_start=True,
    )


def chained(wraps: Sequence[Wrap]) -> Wrap:
    """Return one wrap that applies several, the first one innermost."""

    def wrap(loss: nn.Module, evaluate: Evaluate) -> tuple[nn.Module, Evaluate]:
        for one in wraps:
            loss, evaluate = one(loss, evaluate)
        return loss, evaluate

    return wrap


def _check_same_tokens(data: Encoded, teacher: TeacherLogits) -> None:
    """Refuse a student that cuts texts otherwise than its teacher, where every token is answered.

    Raises:
        UserError: other windows, or other tokens in one.
    """
    lengths = teacher.tokens()
    if lengths is None or (len(lengths) == len(data) and bool((lengths == data.lengths).all())):
        return
    raise UserError(
        "student and teacher cut texts into different tokens",
        where="distill",
        found=f"{int(data.lengths.sum()):,} tokens of the student in {len(data):,} rows",
        expected=f"{int(lengths.sum()):,} of the teacher in {len(lengths):,} rows: this task's answers stand at tokens",
        fix="give the student its teacher's tokenizer and length (vocabulary: min_count 1)",
    )


def thinned(mask: Tensor, share: float) -> Tensor:
    """Return an attention mask ``(B, T)`` without a random share of its pieces; the first of a text, which a model may read, stays."""
    kept = torch.rand(mask.shape, device=mask.device) >= share
    kept[:, 0] = True
    return mask * kept


class SoftLabels(nn.Module):  # type: ignore[misc]
    """The mixed loss; the teacher's outputs are looked up by row number.

    Args:
        task: its name.
        teacher: of the rows that are learned from.
        targets: of the first of these rows; None: there are none.
        temperature: T > 0.
        hard: weight of the labels, 0 to 1.
        unit: what both losses are divided by, :meth:`imbik.training.heads.Head.unit` of the teacher.
        piece_dropout: share of the pieces behind the first that are hidden from the student while it trains (Iyyer et al. 2015, "Deep
            Unordered Composition Rivals Syntactic Methods for Text Classification"); the teacher has read all of them.
    """

    def __init__(
        self,
        task: TaskName,
        teacher: TeacherLogits,
        targets: RowTargets | None,
        temperature: float,
        hard: float,
        unit: float = 1.0,
        piece_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.task = task_of(task)
        self.head = head_of(task)
        self.piece_dropout = piece_dropout
        self.teacher = teacher
        self.targets = targets
        self.temperature = temperature
        self.hard = hard
        self.unit = unit

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Compute the mixed loss on one batch."""
        # the padding of the mask is all that tells a model that a piece is not there, so hiding takes no other input
        if self.piece_dropout and self.training:
            batch = batch | {"attention_mask": thinned(batch["attention_mask"], self.piece_dropout)}
        shown, said = self.see(batch)
        soft, labels = self.terms(run(model, shown, self.task), batch["rows"], mask_of(batch), said)
        return soft if labels is None else (1.0 - self.hard) * soft + self.hard * labels

    def see(self, batch: Batch) -> tuple[Batch, Tensors | None]:
        """Return the batch that the student is shown, and what the teacher says of it; None: what it said of the rows."""
        return batch, None

    def parts(self, model: nn.Module, batch: Batch) -> list[tuple[Tensor, float]]:
        """Compute the two terms on some rows of a batch, and how many things each is the mean over."""
        rows, mask = batch["rows"], mask_of(batch)
        shown, said = self.see(batch)
        soft, labels = self.terms(run(model, shown, self.task), rows, mask, said)
        count = self.head.answered(len(rows), mask)
        # forward() leaves the weight out where no row of the batch has a label: of all its rows
        if self.hard == 0.0 or self.targets is None or not bool((batch["whole"] < len(self.targets)).any()):
            return [(soft, count)]
        if labels is None:
            return [((1.0 - self.hard) * soft, count), (soft * 0.0, 0)]
        targets = self.targets.take(rows[rows < len(self.targets)], None if mask is None else mask.shape[1], soft.device)
        return [((1.0 - self.hard) * soft, count), (self.hard * labels, self.head.labelled(targets))]

    def terms(
        self, outputs: Tensors, rows: Tensor, mask: Tensor | None = None, said: Tensors | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Compute the loss against the teacher, and against the labels: None where its weight is zero or no row of the batch has one.

        Args:
            outputs: the student's, of B rows.
            rows: their numbers, ``(B,)``.
            mask: ``(B, T)``, 1 where a token is no padding; needed where outputs are per token.
            said: the teacher's outputs; None: those that it gave of these rows.
        """
        device = next(iter(outputs.values())).device if isinstance(outputs, Mapping) else outputs.device
        width = None if mask is None else mask.shape[1]
        # looked up by row and not computed: the teacher ran once per text, for all epochs and
        # recipes
        wanted = self.teacher.tensors(rows.numpy(), width, device) if said is None else said
        soft = self.head.distillation_loss(outputs, wanted, self.temperature, mask) / self.unit
        if self.hard == 0.0 or self.targets is None:
            return soft, None
        # rows with labels stand first: unlabelled and augmented texts were put behind them
        labelled = rows < len(self.targets)
        if not labelled.any():
            return soft, None
        targets = self.targets.take(rows[labelled], width, device)
        keep = labelled.to(device)
        chosen = {name: one[keep] for name, one in outputs.items()} if isinstance(outputs, Mapping) else outputs[keep]
        return soft, self.head.loss(chosen, targets) / self.unit


def without_dropout(model: nn.Module) -> None:
    """Set every dropout to zero: what the teacher says already regularizes, and a small student needs all its width."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def learning_rows(splits: Splits) -> Examples:
    """Train rows, then the user's unlabelled texts."""
    extra = splits.unlabelled
    if extra is None:
        return splits.train
    pairs = None
    if splits.train.pairs is not None:
        if extra.pairs is None:
            raise UserError("the unlabelled texts must be pairs, as the training data are", where="--unlabelled")
        pairs = TextStore.of(chain(splits.train.pairs, extra.pairs))
    texts = TextStore.of(chain(splits.train.texts, extra.texts))
    return Examples(texts, pairs, None, splits.train.fingerprint + extra.fingerprint)


def check_labels(student: Checkpoint, teacher: Checkpoint) -> None:
    """Refuse a student whose logits cannot be compared with the teacher's.

    Raises:
        UserError: other labels, or another order of them.
    """
    of_student = student.model.config.id2label
    of_teacher = teacher.model.config.id2label
    # the names by index: the same names in another order would teach wrong answers without an error
    if of_student != of_teacher:
        raise UserError(
            "student and teacher have different labels",
            where="distill",
            found=list(of_student.values())[:8],
            expected=list(of_teacher.values())[:8],
            fix="start the student from this teacher or give it the teacher's labels",
        )
