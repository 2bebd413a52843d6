"""Two-stage Transformer distillation: TinyBERT (Jiao et al. 2020, arXiv 1909.10351)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge
from pydantic import model_validator

from imbik.distillation.attention_losses import AttentionMSE
from imbik.distillation.augmentation import Augment, files_of, with_augmented
from imbik.distillation.feature_losses import HiddenMSE
from imbik.distillation.inner_states import learn_states
from imbik.distillation.soft_labels import learning_rows
from imbik.distillation.transfer import Pair
from imbik.methods.registry import Method, method
from imbik.models.anatomy import depth_of
from imbik.models.checkpoint import labels_of
from imbik.models.pretrained import load_base
from imbik.models.tables import positions_of
from imbik.models.teacher import Teacher
from imbik.pretraining.corpus import BLOCK, Blocks, build_blocks
from imbik.pretraining.general import base_of, general_files, open_corpus
from imbik.students.layer_map import layer_map
from imbik.training.context import Context
from imbik.training.settings import Count, Positive, Trained, Weight
from imbik.types import Checkpoint, Examples


@method("tinybert")
class TinyBERT(Trained, Method):
    """Teach the student its teacher's embeddings, attention and hidden states, layer by layer.

    L = w_e · MSE(E_S W_e, E_T) + Σ over student layers m of (w_a · MSE(A_S(m), A_T(g(m))) + w_h · MSE(H_S(m) W_h, H_T(g(m)))), A the
    attention scores before the softmax, g the map of layers. The projections W live on the loss and are left out where the widths
    agree. The task stage learns from the task's texts; the prediction stage of the paper is a ``distill`` step behind it. The general
    stage learns from raw text.

    Attributes:
        stage: ``task`` or ``general``.
        layers: g: ``uniform``, ``top``, ``bottom``, or for every student layer one of the teacher's, counted from 1.
        attention: attention on ``scores`` as in the paper, or on ``probabilities``.
        embedding_weight, attention_weight, hidden_weight: w_e, w_a and w_h; 0 leaves a term out.
        augment: the paper's data augmentation, see :class:`imbik.distillation.augmentation.Augmentation`; ``false``: the texts as they are.
        corpus: general stage: a text file, a folder of them or a data set, see :func:`imbik.pretraining.general.open_corpus`.
        block: general stage: tokens of a block, at most what the student's positions allow.
        teacher: whose states are learned: ``task``, the fine-tuned teacher; for the general stage also ``base``, the model that it was
            fine-tuned from, or a folder or hub name.
        target_steps, learning_rate and the others: see :class:`imbik.training.settings.Trained`.
    """

    keeps_shape: ClassVar[bool] = True
    stage: Literal["general", "task"] = "task"
    layers: Literal["uniform", "top", "bottom"] | tuple[Count, ...] = "uniform"
    attention: Literal["scores", "probabilities"] = "scores"
    embedding_weight: Weight = 1.0
    attention_weight: Weight = 1.0
    hidden_weight: Weight = 1.0
    augment: Augment = False
    corpus: str = ""
    block: Annotated[int, Ge(8)] = BLOCK
    teacher: str = "task"
    target_steps: Count = 1000
    learning_rate: Positive = 5e-4

    @model_validator(mode="after")
    def _one_stage(self) -> TinyBERT:
        if self.embedding_weight + self.attention_weight + self.hidden_weight == 0:
            raise ValueError("a weight above 0: there is nothing to learn")
        if self.stage == "task" and (self.corpus or self.teacher != "task"):
            raise ValueError("stage: general for a corpus or a teacher; the task stage learns from the task's texts and the task's teacher")
        if self.stage == "general" and not self.corpus:
            raise ValueError("a corpus (the general stage needs raw text): a text file, a folder or a data set")
        if self.stage == "general" and self.augment:
            raise ValueError("augment: false; the general stage learns from raw text as it is")
        return self

    def apply(self, checkpoint: Checkpoint, context: Context) -> Checkpoint:
        """Return the student after training; its head is not touched.

        Raises:
            UserError: a map that does not fit, other tokens than the teacher's, a corpus or a general teacher that cannot be opened.
        """
        teacher = self._teacher(context)
        what = "learning the layers" if self.stage == "task" else "general distillation"
        return learn_states(checkpoint, teacher, self.pairs(checkpoint, teacher), self._rows(checkpoint, context), self, context, what)

    def reads(self, teacher: Teacher) -> list[str]:
        """Return the files and folders that augmentation, or a general stage, reads."""
        general = general_files(teacher, "" if self.teacher == "task" else self.teacher, self.corpus)
        return files_of(self.augment) if self.stage == "task" else general

    def pairs(self, student: Checkpoint, teacher: Teacher) -> list[Pair]:
        """Return the terms of the sum."""
        # the paper's eq. 9, then per layer eq. 8 and eq. 7; terms of weight 0 are dropped by the
        # transfer, which then does not read their states either
        pairs = [Pair("embeddings", "embeddings", HiddenMSE(), self.embedding_weight)]
        for layer, source in enumerate(layer_map(self.layers, teacher.depth, depth_of(student.model))):
            pairs.append(Pair(f"hidden.{layer}", f"hidden.{source}", HiddenMSE(), self.hidden_weight))
            pairs.append(Pair(f"scores.{layer}", f"scores.{source}", AttentionMSE(self.attention), self.attention_weight))
        return pairs

    def _teacher(self, context: Context) -> Teacher:
        if self.teacher == "task":
            return context.teacher
        base = base_of(context.teacher, self.teacher, "tinybert")
        # a pretrained model has no classifier: it gets a fresh one here that nothing reads, since
        # this method compares inner states alone
        return Teacher.of(load_base(base, context.teacher.task, labels_of(context.teacher)), base)

    def _rows(self, student: Checkpoint, context: Context) -> Examples | Blocks:
        if self.stage == "task":
            return with_augmented(learning_rows(context.splits), self.augment, context)
        # a longer block would look up positions that the student's table does not have
        length = min(self.block, positions_of(student.model))
        documents = open_corpus(self.corpus, context.splits)
        # under `shared`: all recipes of the output folder read one tokenized corpus
        return build_blocks(documents, student.tokenizer, context.shared / "corpus", length=length, progress=context.progress)
