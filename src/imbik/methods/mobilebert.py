"""Knowledge transfer through an inverted bottleneck: MobileBERT (Sun et al. 2020, arXiv 2004.02984)."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le
from pydantic import model_validator
from torch import nn

from imbik.distillation.mobilebert.bridge import (
    Headed,
    PretrainingDistillation,
    TaskLogits,
    block_map,
    bridge_pairs,
    fits,
    given_ib_bert,
    other_shape,
    sample,
    shape_of,
)
from imbik.distillation.mobilebert.schedule import Masked, OnBase, Sum, Transferring, Weights
from imbik.distillation.mobilebert.start import copy_from_ib, start_head, start_ib_bert
from imbik.distillation.soft_labels import SoftLabels, check_labels, learning_rows, without_dropout
from imbik.distillation.teacher_states import LiveTeacher
from imbik.distillation.transfer import Pair, Transfer
from imbik.errors import UserError
from imbik.jobs.files import replacing_folder
from imbik.jobs.fingerprints import key_of
from imbik.jobs.workspace import MODEL_FILES
from imbik.methods.registry import method
from imbik.models.anatomy import anatomy
from imbik.models.checkpoint import fingerprint, save_checkpoint
from imbik.models.pretrained import load_checkpoint
from imbik.pretraining.corpus import BLOCK
from imbik.pretraining.general import General, general_files, open_general, with_mlm_head
from imbik.pretraining.masking import Masker
from imbik.students.mobilebert import MobileShape, make_ib_bert
from imbik.training.context import Context
from imbik.training.encoding import Encoded, encode
from imbik.training.loop import fit
from imbik.training.prediction import dev_score
from imbik.training.settings import Count, Optimized, Positive, Share, Weight, check_stage, training_for
from imbik.types import Checkpoint


@method("mobilebert")
class MobileBert(Optimized):
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

    stage: Literal["general", "task"] = "task"
    schedule: Literal["progressive", "joint", "auxiliary"] = "progressive"
    teacher: str = "made"
    base: str = "base"
    inner: Annotated[int, Ge(0)] = 0
    embeddings: Literal["copy", "match"] = "copy"
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

    def refuse_after(self, earlier: Any) -> str | None:
        """The transfer gives the student its weights, so nothing may have changed its structure before."""
        if earlier.name in ("distill", "distilbert", "minilm", "mobilebert", "tinybert"):
            return None
        return "mobilebert before it: the transfer fills a student whose structure is still that of a MobileBERT"

    def apply(self, checkpoint: Checkpoint, context: Context) -> Checkpoint:
        """The student after the transfer.

        Raises:
            UserError: a student that is no MobileBERT, an IB-BERT of another shape or with other labels.
        """
        shape_of(checkpoint.model)
        check_labels(checkpoint, context.teacher)
        without_dropout(checkpoint.model)
        return self._general(checkpoint, context) if self.stage == "general" else self._task(checkpoint, context)

    def reads(self, teacher: Checkpoint) -> list[str]:
        """Files and folders whose content the result depends on."""
        given = "" if self.teacher == "made" else self.teacher
        return general_files(teacher, given or self.base, self.corpus) if self.stage == "general" else [name for name in (given,) if name]

    def _task(self, student: Checkpoint, context: Context) -> Checkpoint:
        rows = learning_rows(context.splits)
        data = encode(rows, student.tokenizer)
        ib = self._task_teacher(student, data, context)
        copy_from_ib(ib.model, student.model, sample(data))
        weights, match, training = self.weights(), self.embeddings == "match", training_for(self, self.transfer_steps)
        transferring = Transferring(ib.model, student.model, data, None, weights, match, training, context)
        if self.schedule != "auxiliary":
            transferring.run(self.schedule)
            return student
        logits = SoftLabels(student.task, context.cache.logits(rows, context.progress), None, 2.0, 0.0)
        dev = encode(context.splits.dev, student.tokenizer)
        self._fit(
            student.model,
            Sum(transferring.loss(), logits),
            data,
            self.transfer_steps,
            context,
            "transfer and prediction",
            evaluate=dev_score(context.splits, dev),
        )
        return student

    def weights(self) -> Weights:
        """The factors of the transfers."""
        return Weights(self.attention, self.hidden, self.mean, self.variance)

    def _fit(
        self, model: Any, loss: nn.Module, data: Any, steps: int, context: Context, what: str, rate: float | None = None, **more: Any
    ) -> None:
        fit(
            model,
            loss,
            data,
            training_for(self, steps, rate),
            what=what,
            pieces=data.pieces() if isinstance(data, Encoded) and "evaluate" not in more else None,
            **context.loop(what.replace(" ", "-")),
            **more,
        )

    def _task_teacher(self, student: Checkpoint, data: Encoded, context: Context) -> Checkpoint:
        """The IB-BERT: opened, found finished, or made of the classic teacher and kept for other recipes."""
        shape = shape_of(student.model)
        if self.teacher != "made":
            return given_ib_bert(self.teacher, shape, context.teacher)
        parts = {
            "teacher": fingerprint(context.teacher),
            "data": context.splits.fingerprint,
            "shape": replace(shape, bottleneck=0, feedforwards=1).__dict__,
            "settings": [self.inner, self.bridge_steps, self.bridge_rate, self.batch_tokens, context.splits.unlabelled is not None],
        }
        folder = context.shared / "ib-bert" / key_of(parts)
        if not (folder / "config.json").is_file():
            made = self._bridge(context.teacher, shape, data, context)
            with replacing_folder(folder, lambda _: MODEL_FILES) as temporary:
                save_checkpoint(made, temporary)
        return load_checkpoint(folder, role="IB-BERT")

    def _bridge(self, classic: Checkpoint, shape: MobileShape, data: Any, context: Context) -> Checkpoint:
        """An IB-BERT that says what the classic teacher says: its states, its attention, its logits."""
        ib = self._empty_ib(classic, shape)
        start_ib_bert(classic.model, ib.model, block_map(classic.model, shape.layers), sample(data))
        start_head(classic.model, ib.model, sample(data))
        pairs = [*bridge_pairs(classic.model, ib.model), Pair("logits", "logits", TaskLogits(classic.task))]
        reader = anatomy(classic.model)
        transfer = Transfer(pairs, anatomy(ib.model), LiveTeacher(classic.model, reader, [pair.teacher for pair in pairs]))
        transfer.bind(ib.model, sample(data, 64))
        without_dropout(ib.model)
        self._fit(ib.model, transfer, data, self.bridge_steps, context, "making the IB-BERT", self.bridge_rate)
        return ib

    def _empty_ib(self, classic: Checkpoint, shape: MobileShape) -> Checkpoint:
        config = classic.model.config
        wide = int(getattr(config, "intermediate_size", None) or config.hidden_dim)
        inner = self.inner or int(config.hidden_size)
        if inner % shape.heads:
            found = f"inner {inner}, heads {shape.heads}"
            raise UserError("the heads do not divide the width inside the IB-BERT", where="mobilebert.inner", found=found)
        return make_ib_bert(classic, shape, inner, wide if inner == int(config.hidden_size) else 4 * inner)

    def _general(self, student: Checkpoint, context: Context) -> Checkpoint:
        masker = Masker.of(student.tokenizer, self.mask, self.whole_words)
        teacher = self.base if self.teacher == "made" else self.teacher
        general = open_general(student, context, teacher=teacher, corpus=self.corpus, length=self.block, masker=masker, where="mobilebert")
        shape, classic = shape_of(student.model), general.teacher
        if self.teacher == "made":
            general = replace(general, teacher=self._general_bridge(student, shape, general, context))
        elif not fits(classic, shape):
            raise other_shape(self.teacher, classic, shape)
        general.teacher.requires_grad_(False)
        copy_from_ib(general.teacher, general.student, sample(general.train, 32))
        transferring = Transferring(
            general.teacher,
            general.student,
            general.train,
            masker,
            self.weights(),
            self.embeddings == "match",
            training_for(self, self.transfer_steps),
            context,
        )
        loss: nn.Module = PretrainingDistillation(general, self.truth)
        steps = self.predict_steps
        if self.schedule == "auxiliary":
            loss, steps = Sum(Masked(transferring.loss(), masker), loss), self.transfer_steps + self.predict_steps
        else:
            transferring.run(self.schedule)
        self._fit(general.student, loss, general.train, steps, context, "pre-training distillation", evaluate=general.score)
        student.model.eval()
        return student

    def _general_bridge(self, student: Checkpoint, shape: MobileShape, general: General, context: Context) -> Any:
        """An IB-BERT with a masked-language-model head, made of the classic masked language model on the corpus."""
        classic = general.teacher
        as_checkpoint = Checkpoint(Headed(classic, context.teacher.model.config), student.tokenizer, student.task)
        ib = with_mlm_head(self._empty_ib(as_checkpoint, shape).model)
        start_ib_bert(classic.base_model, ib, block_map(classic.base_model, shape.layers), sample(general.train, 32))
        pairs = bridge_pairs(classic.base_model, ib.base_model)
        reader = anatomy(classic.base_model)
        states = LiveTeacher(classic.base_model, reader, [pair.teacher for pair in pairs])
        transfer = Transfer(pairs, anatomy(ib.base_model), states)
        transfer.bind(ib.base_model, sample(general.train, 8))
        without_dropout(ib)
        loss = Sum(Masked(OnBase(transfer), general.masker), PretrainingDistillation(general, self.truth))
        self._fit(ib, loss, general.train, self.bridge_steps, context, "making the IB-BERT", self.bridge_rate)
        return ib
