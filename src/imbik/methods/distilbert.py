"""Three losses at once: DistilBERT (Sanh et al. 2019, arXiv 1910.01108)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt, Le
from pydantic import model_validator
from torch import Tensor, nn

from imbik.distillation.feature_losses import HiddenCosine
from imbik.distillation.inner_states import states_of, teacher_rows
from imbik.distillation.soft_labels import SoftLabels, check_labels, learning_rows, without_dropout
from imbik.distillation.transfer import TeacherStates, mask_of
from imbik.errors import UserError
from imbik.methods.registry import Method, method
from imbik.models.anatomy import anatomy, depth_of, listen
from imbik.models.teacher import Teacher
from imbik.pretraining.corpus import BLOCK
from imbik.pretraining.general import GeneralStage, copy_mlm_head, general_files, open_general, predict_masked
from imbik.pretraining.masking import Masker
from imbik.students.distilbert import alternate_layers, copy_encoder
from imbik.training.context import Context
from imbik.training.encoding import encode_for
from imbik.training.heads import head_of
from imbik.training.loop import fit
from imbik.training.prediction import Batch, RowTargets, dev_score, model_inputs, run, to_batch
from imbik.training.settings import Count, Positive, TrainedOnDev, Weight, check_stage, training_of
from imbik.types import Checkpoint

_LAST = "hidden.-1"


@method("distilbert")
class DistilBert(TrainedOnDev, Method):
    """Learn from the teacher's predictions, from the truth and from the direction of the teacher's last hidden states, together.

    L = w_soft · T² · KL(softmax(z_T / T) ‖ softmax(z_S / T)) + w_hard · L_truth + w_cosine · (1 - cos(h_S, h_T)), the last one mean
    over all real tokens. General stage: z are the predictions of masked tokens in raw text and L_truth the masked language modeling
    loss; the teacher is the pretrained model. Task stage: z are the class logits and L_truth is against the labels.

    Attributes:
        stage: ``task`` or ``general``.
        corpus: general stage: a text file, a folder of them or a data set, see :func:`imbik.pretraining.general.open_corpus`.
        teacher: general stage: folder or hub name of a masked language model, or ``base``: what the task's teacher was fine-tuned from.
        start: general stage: ``teacher``: a DistilBERT student starts again from every other layer of the general teacher, as published;
            ``keep``: it goes on from what it is.
        soft, hard, cosine: weights of the three losses.
        temperature: T > 0.
        everywhere: general stage: compare predictions at all tokens, not at the masked ones alone; several times the work.
        mask, whole_words: general stage: share of the tokens that are hidden, and whether as whole words.
        block: general stage: tokens of a block.
        accumulate: batches per step, for the very large batches of the paper (up to 4,000 rows).
        max_grad_norm and the others: see :class:`imbik.training.settings.TrainedOnDev`.
    """

    keeps_shape: ClassVar[bool] = True
    stage: Literal["general", "task"] = "task"
    corpus: str = ""
    teacher: str = "base"
    start: Literal["teacher", "keep"] = "teacher"
    soft: Weight = 5.0
    hard: Weight = 2.0
    cosine: Weight = 1.0
    temperature: Positive = 2.0
    everywhere: bool = False
    mask: Annotated[float, Gt(0), Le(1)] = 0.15
    whole_words: bool = False
    block: Annotated[int, Ge(8)] = BLOCK
    accumulate: Count = 1
    max_grad_norm: Positive = 5.0

    @model_validator(mode="after")
    def _one_stage(self) -> DistilBert:
        if self.soft + self.hard + self.cosine == 0:
            raise ValueError("soft, hard or cosine above 0: there is nothing to learn")
        check_stage(self.stage, self.corpus)
        return self

    def apply(self, checkpoint: Checkpoint, context: Context) -> Checkpoint:
        """Return the student after training. The general stage changes its encoder and leaves its head as it was.

        Raises:
            UserError: a corpus that cannot be opened, no masked-language-model head, labels or tokens that differ.
        """
        # both stages compare states of student and teacher: dropout would be noise in one of them
        without_dropout(checkpoint.model)
        return self._general(checkpoint, context) if self.stage == "general" else self._task(checkpoint, context)

    def reads(self, teacher: Teacher) -> list[str]:
        """Return the corpus and the general teacher of a general stage."""
        return general_files(teacher, self.teacher, self.corpus) if self.stage == "general" else []

    def _general(self, student: Checkpoint, context: Context) -> Checkpoint:
        masker = Masker.of(student.tokenizer, self.mask, self.whole_words)
        general = open_general(
            student, context, teacher=self.teacher, corpus=self.corpus, length=self.block, masker=masker, where="distilbert"
        )
        if self.start == "teacher":
            _start_again(student, general)
        copy_mlm_head(general.teacher, general.student)
        loss = GeneralTriple(general, self)
        # before fit(): the optimizer takes the parameters that exist when it is made
        if self.cosine:
            loss.bind(to_batch(general.train, np.arange(min(8, len(general.train)))))
        fit(
            general.student,
            loss,
            general.train,
            training_of(self, int(general.train.lengths.sum())),
            context.training(),
            what="general distillation",
            evaluate=general.score,
        )
        student.model.eval()
        return student

    def _task(self, student: Checkpoint, context: Context) -> Checkpoint:
        check_labels(student, context.teacher)
        rows = learning_rows(context.splits)
        data, dev = (encode_for(student.task, part, student.tokenizer) for part in (rows, context.splits.dev))
        training = training_of(self, int(data.offsets[-1]))
        logits = context.cache.logits(rows, context.progress)
        targets = RowTargets.of(context.splits, context.splits.train, data)
        unit = head_of(student.task).unit(context.teacher.model)
        labels = SoftLabels(student.task, logits, targets, self.temperature, self.hard, unit)
        states = None
        if self.cosine:
            teacher_data = teacher_rows(data, rows, student, context.teacher)
            states = states_of(context.teacher, [_LAST], teacher_data, data, training.epochs, context)
        loss = TaskTriple(student.model, labels, states, self)
        if self.cosine:
            loss.bind(student.model, to_batch(data, np.arange(min(64, len(data)))))
        fit(
            student.model,
            loss,
            data,
            training,
            context.training(),
            what="distilling",
            evaluate=dev_score(context.splits, dev),
            # rows of the table for pieces that neither train nor dev shows do not train, which
            # saves most of AdamW's work on a small student
            pieces=np.union1d(data.pieces(), dev.pieces()),
        )
        return student


def _start_again(student: Checkpoint, general: GeneralStage) -> None:
    """Copy every other layer of the general teacher into a DistilBERT that is as wide."""
    encoder = general.student.base_model
    teacher = general.teacher.base_model
    width = int(teacher.config.hidden_size)
    if encoder.config.model_type != "distilbert" or int(encoder.config.hidden_size) != width:
        raise UserError(
            "this student cannot start from the general teacher's layers",
            where="distilbert.start",
            found=f"{encoder.config.model_type}, width {encoder.config.hidden_size}",
            expected=f"a DistilBERT of width {width}",
            fix="set start: keep",
        )
    copy_encoder(teacher, encoder, alternate_layers(depth_of(teacher), depth_of(encoder)))


class GeneralTriple(nn.Module):
    """The three losses on masked raw text."""

    def __init__(self, general: GeneralStage, weights: DistilBert) -> None:
        super().__init__()
        self.general, self.weights, self.cosine = general, weights, HiddenCosine()
        self.readers = anatomy(general.student), anatomy(general.teacher)

    def bind(self, batch: Batch) -> None:
        """Make the cosine's projection where the widths differ."""
        self._forward(self.general.student, batch, bind=True)

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        return self._forward(model, batch)

    def _forward(self, model: nn.Module, batch: Batch, bind: bool = False) -> Tensor:
        # the stage is no module of this loss, so fit does not move its teacher and does not train
        # it
        teacher, weights = self.general.teacher.to(batch["input_ids"].device), self.weights
        names = [_LAST] if weights.cosine else []
        with listen(model, self.readers[0], names) as student_states, listen(teacher, self.readers[1], names) as teacher_states:
            predicted = predict_masked(model, teacher, batch, self.general.masker, weights.everywhere)
        loss = weights.soft * predicted.soft(weights.temperature) + weights.hard * predicted.hard()
        if weights.cosine:
            if bind:
                self.cosine.bind(student_states[_LAST], teacher_states[_LAST], mask_of(batch))
            loss = loss + weights.cosine * self.cosine(student_states[_LAST], teacher_states[_LAST], mask_of(batch))
        return loss


class TaskTriple(nn.Module):
    """The three losses on the task's rows; the teacher's logits and states are looked up."""

    def __init__(self, model: nn.Module, labels: SoftLabels, states: TeacherStates | None, weights: DistilBert) -> None:
        super().__init__()
        self.labels, self.states, self.weights = labels, states, weights
        self.reader, self.cosine = anatomy(model), HiddenCosine()

    def bind(self, model: nn.Module, batch: Batch) -> None:
        """Make the cosine's projection where the widths differ."""
        assert self.states is not None
        with listen(model, self.reader, [_LAST]) as student_states:
            model(**model_inputs(batch))
        self.cosine.bind(student_states[_LAST], self.states.states(batch)[_LAST], mask_of(batch))

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        with listen(model, self.reader, [_LAST] if self.states is not None else []) as student_states:
            outputs = run(model, batch, self.labels.task)
        soft, hard = self.labels.terms(outputs, batch["rows"], batch["attention_mask"])
        loss = self.weights.soft * soft
        if hard is not None:
            loss = loss + self.weights.hard * hard
        if self.states is not None:
            loss = loss + self.weights.cosine * self.cosine(student_states[_LAST], self.states.states(batch)[_LAST], mask_of(batch))
        return loss
