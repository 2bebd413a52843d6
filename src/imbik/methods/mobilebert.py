"""Knowledge transfer through an inverted bottleneck: MobileBERT (Sun et al. 2020, arXiv 2004.02984)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le
from pydantic import model_validator
from torch import nn

from imbik.distillation.mobilebert.bridge import PretrainingDistillation, TaskLogits, fits, given_ib_bert, other_shape, shape_of
from imbik.distillation.mobilebert.schedule import OnBaseModel, SumOfLosses, Weights
from imbik.distillation.mobilebert.stage import BlockwiseTransfer, Schedule, Stage
from imbik.distillation.mobilebert.start import refit_head, start_head
from imbik.distillation.soft_labels import SoftLabels, check_labels, learning_rows, without_dropout
from imbik.distillation.transfer import Pair
from imbik.jobs.fingerprints import key_of
from imbik.methods.registry import Method, method
from imbik.models.anatomy import anatomy
from imbik.models.checkpoint import labels_of
from imbik.models.hooks import evaluating
from imbik.models.teacher import Teacher
from imbik.pretraining.corpus import BLOCK
from imbik.pretraining.general import add_mlm_head, general_files, open_general
from imbik.pretraining.masking import Masker
from imbik.students.spec import Inherited
from imbik.tasks.registry import task_of
from imbik.training.context import Context
from imbik.training.encoding import encode
from imbik.training.heads import head_of
from imbik.training.prediction import Batch, dev_score
from imbik.training.settings import Count, Optimized, Positive, Share, Training, Weight, check_stage, training_for
from imbik.types import Checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@method("mobilebert")
class MobileBert(Optimized, Method):
    """Teach a MobileBERT student, block by block, what an IB-BERT of the same width between blocks computes.

    For every block: L = w_attention · KL(P_T ‖ P_S) per head + w_hidden · MSE(norm h_S, norm h_T) + w_mean · (μ_S - μ_T)²
    + w_variance · |σ²_S - σ²_T|. The IB-BERT is given, or made first by distilling the classic teacher into one. What follows is
    prediction: on the task a ``distill`` step, on raw text (general stage) truth · MLM + (1 - truth) · KL of predicted tokens, the
    paper's pre-training distillation, which this step does itself.

    Attributes:
        stage: ``task``: on the task's texts; ``general``: on raw text.
        schedule: ``progressive``: block after block, those below frozen; ``joint``: all blocks at once, then prediction;
            ``auxiliary``: blocks and prediction in one sum.
        teacher: folder of an IB-BERT (task stage: fine-tuned, with the task's labels), or ``made``: of the classic teacher.
        base: general stage: the classic masked language model that an IB-BERT is made of, or ``base``: what the task's teacher was
            fine-tuned from.
        inner: width inside the IB-BERT's blocks; 0: the classic teacher's own, the only one that its layers can be taken over to.
        embeddings: ``copy`` the teacher's, or ``match`` them like a feature map.
        attention, hidden, mean, variance: weights of the four terms.
        truth: general stage: share of the true tokens in the prediction loss.
        corpus, block, mask, whole_words: general stage, as in :class:`imbik.methods.distilbert.DistilBert`.
        bridge_steps, transfer_steps, predict_steps: steps of making the IB-BERT, of the transfer (all blocks together), and of
            prediction where this step does it.
        bridge_rate, learning_rate: their peak learning rates.
        accumulate: see :class:`imbik.training.settings.Training`; the others: see :class:`imbik.training.settings.Optimized`.
    """

    keeps_shape: ClassVar[bool] = True
    stage: Literal["general", "task"] = "task"
    schedule: Schedule = "progressive"
    teacher: str = "made"
    base: str = "base"
    inner: Annotated[int, Ge(0)] = 0
    embeddings: Literal["copy", "match"] = "copy"
    # the four factors of the published training command; the transfers differ in size by that much
    attention: Weight = 1.0
    hidden: Weight = 100.0
    mean: Weight = 5000.0
    variance: Weight = 5.0
    truth: Share = 0.5
    corpus: str = ""
    block: Annotated[int, Ge(8)] = BLOCK
    mask: Annotated[float, Gt(0), Le(1)] = 0.15
    whole_words: bool = False
    bridge_steps: Count = 800
    transfer_steps: Count = 1500
    predict_steps: Count = 1000
    bridge_rate: Positive = 3e-4
    learning_rate: Positive = 1.5e-3
    accumulate: Count = 1

    @model_validator(mode="after")
    def _one_stage(self) -> MobileBert:
        if self.attention + self.hidden + self.mean + self.variance == 0:
            raise ValueError("a weight above 0: there is nothing to learn")
        check_stage(self.stage, self.corpus)
        return self

    def refuse_task(self, task: str) -> str | None:
        """Refuse models that answer token by token or pool all of them: the transfer starts at the pooled first token, which they lack."""
        if task_of(task).one_row and not task_of(task).apart:
            return None
        return "tinybert, minilm, distilbert or distill: mobilebert starts at the pooled first token, which models of this task lack"

    def refuse_after(self, earlier: Method) -> str | None:
        """Refuse what changed the structure: the transfer gives weights to the student as it was made."""
        if earlier.keeps_shape:
            return None
        return "mobilebert before it: the transfer fills a student whose structure is still that of a MobileBERT"

    def apply(self, checkpoint: Checkpoint, context: Context) -> Checkpoint:
        """Return the student after the transfer.

        Raises:
            UserError: a student that is no MobileBERT, an IB-BERT of another shape or with other labels.
        """
        shape_of(checkpoint.model)
        check_labels(checkpoint, context.teacher)
        without_dropout(checkpoint.model)
        transfer = GeneralTransfer if self.stage == "general" else TaskTransfer
        transfer(self, checkpoint, context).run()
        checkpoint.model.eval()
        return checkpoint

    def reads(self, teacher: Teacher) -> list[str]:
        """Return the given IB-BERT, and the corpus and classic model of a general stage."""
        given = "" if self.teacher == "made" else self.teacher
        return general_files(teacher, given or self.base, self.corpus) if self.stage == "general" else [name for name in (given,) if name]

    @property
    def weights(self) -> Weights:
        """The factors of the transfers."""
        return Weights(self.attention, self.hidden, self.mean, self.variance)

    @property
    def bridge(self) -> Training:
        """How an IB-BERT is made."""
        return training_for(self, self.bridge_steps, self.bridge_rate)

    def training(self, steps: int) -> Training:
        """Return how transfer and prediction train."""
        return training_for(self, steps)


class TaskTransfer(BlockwiseTransfer):
    """The transfer on the task's texts, from its fine-tuned teacher; prediction is a ``distill`` step of its own, or joins the sum."""

    settings: MobileBert

    def __init__(self, settings: MobileBert, student: Checkpoint, context: Context) -> None:
        self.checkpoint = student
        self.rows = learning_rows(context.splits)
        data = encode(self.rows, student.tokenizer)
        super().__init__(Stage(data, None, context, starts=256, binds=64), student.model, shape_of(student.model), settings)

    def ib_bert(self) -> PreTrainedModel:
        """Return the IB-BERT: opened, found finished, or made of the task's teacher and kept for other recipes."""
        settings, context = self.settings, self.stage.context
        if settings.teacher != "made":
            return given_ib_bert(settings.teacher, self.shape, context.teacher).model
        unlabelled = context.splits.unlabelled is not None
        parts = {
            "teacher": context.teacher.fingerprint,
            "data": context.splits.fingerprint,
            # what is inside the student's blocks leaves the IB-BERT as it is: students with other
            # bottlenecks find the same one
            "shape": replace(self.shape, bottleneck=0, feedforwards=1).__dict__,
            "settings": [settings.inner, settings.bridge_steps, settings.bridge_rate, settings.batch_tokens, unlabelled],
        }
        return context.kept("IB-BERT", key_of(parts), self._made).model

    def _made(self) -> Checkpoint:
        teacher = self.stage.context.teacher
        ib = self.empty_ib_bert(Inherited.of(teacher))
        return Checkpoint(self.make_ib_bert(ib, ib, teacher.model, teacher.anatomy), teacher.tokenizer, teacher.task)

    def start_head(self, ib: PreTrainedModel, batch: Batch) -> None:
        """Start the IB-BERT's classifier at the teacher's answers."""
        start_head(self.stage.context.teacher.model, ib, batch, self.stage.context.seed)

    def prediction_pairs(self) -> Sequence[Pair]:
        """Return one term: the logits."""
        return [
            Pair("logits", "logits", TaskLogits(self.checkpoint.task, head_of(self.checkpoint.task).unit(self.stage.context.teacher.model)))
        ]

    def predict_afterwards(self) -> None:
        """Fit the student's head, which is the IB-BERT's, to the states that its own blocks give."""
        with evaluating(self.student):
            refit_head(self.stage.context.teacher.model, self.student, self.stage.sample(), self.stage.context.seed)

    def predict(self, steps: int, joined: Callable[[nn.Module], nn.Module]) -> None:
        """Distil the teacher's logits, beside the blocks."""
        context = self.stage.context
        # T = 2 and no labels: what a distill step does by default
        unit = head_of(self.checkpoint.task).unit(context.teacher.model)
        logits = SoftLabels(self.checkpoint.task, context.cache.logits(self.rows, context.progress), None, 2.0, 0.0, unit)
        evaluate = dev_score(context.splits, encode(context.splits.dev, self.checkpoint.tokenizer))
        self.stage.fit(self.student, joined(logits), self.settings.training(steps), "transfer and prediction", evaluate)


class GeneralTransfer(BlockwiseTransfer):
    """The transfer on raw text, from a masked language model; prediction is the paper's pre-training distillation."""

    settings: MobileBert

    def __init__(self, settings: MobileBert, student: Checkpoint, context: Context) -> None:
        self.checkpoint = student
        masker = Masker.of(student.tokenizer, settings.mask, settings.whole_words)
        self.general = open_general(
            student,
            context,
            teacher=settings.base if settings.teacher == "made" else settings.teacher,
            corpus=settings.corpus,
            length=settings.block,
            masker=masker,
            where="mobilebert",
        )
        stage = Stage(self.general.train, masker, context, starts=32, binds=8)
        super().__init__(stage, self.general.student, shape_of(student.model), settings)

    def ib_bert(self) -> PreTrainedModel:
        """Return the given masked language model where it fits, else an IB-BERT that is made of the classic one on the corpus.

        Raises:
            UserError: an IB-BERT of another shape than the student's.
        """
        classic, settings = self.general.teacher, self.settings
        if settings.teacher == "made":
            classic = self._made()
        elif not fits(classic, self.shape):
            raise other_shape(settings.teacher, classic, self.shape)
        # from here on the IB-BERT is the teacher, for the blocks and for the predictions
        self.general = replace(self.general, teacher=classic.requires_grad_(False))
        return self.general.teacher

    def _made(self) -> PreTrainedModel:
        classic, student = self.general.teacher, self.checkpoint
        rows = int(classic.get_input_embeddings().num_embeddings)
        inherited = Inherited(classic.config, rows, student.tokenizer, student.task, labels_of(self.stage.context.teacher))
        ib = add_mlm_head(self.empty_ib_bert(inherited))
        return self.make_ib_bert(ib, ib.base_model, classic.base_model, anatomy(classic.base_model))

    def bridge_loss(self, transfer: nn.Module) -> nn.Module:
        """Return states and prediction of masked tokens together."""
        return SumOfLosses(self.stage.on_text(OnBaseModel(transfer)), PretrainingDistillation(self.general, self.settings.truth))

    def predict(self, steps: int, joined: Callable[[nn.Module], nn.Module]) -> None:
        """Distil the IB-BERT's predictions of masked tokens."""
        loss = joined(PretrainingDistillation(self.general, self.settings.truth))
        training = self.settings.training(steps + self.settings.predict_steps)
        self.stage.fit(self.student, loss, training, "pre-training distillation", self.general.score)

    def predict_afterwards(self) -> None:
        """Distil the predictions alone."""
        self.predict(0, lambda prediction: prediction)
