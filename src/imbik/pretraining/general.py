"""Parts that general stages share: a teacher and a student with a head, and a corpus.

A general stage lets a student learn from raw text before its task. The teacher is the pretrained
model with its masked-language-model head, the student's twin gets one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForMaskedLM

from imbik.data.documents import Documents, documents_of, open_documents
from imbik.errors import UserError
from imbik.models.pretrained import load_masked_lm
from imbik.models.tables import positions_of
from imbik.pretraining.corpus import Blocks, build_blocks
from imbik.pretraining.masking import IGNORED, Masker, masked_output
from imbik.pretraining.mlm import mlm_quality
from imbik.training.context import Context
from imbik.training.prediction import Batch, model_inputs
from imbik.types import Checkpoint, Splits

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


TASK_TEXTS = "task"
"""The corpus that is the task's own texts, without their labels: for who has no other."""


@dataclass(frozen=True)
class GeneralStage:
    """Models and blocks that a general stage works with.

    Attributes:
        teacher: a ``…ForMaskedLM`` in evaluation mode.
        student: the student's encoder under a masked-language-model head; its ``base_model`` is the
            student's own.
        train, held: blocks to learn from, and a few held out.
        masker: hides tokens.
    """

    teacher: PreTrainedModel
    student: PreTrainedModel
    train: Blocks
    held: Blocks
    masker: Masker

    def score(self, model: PreTrainedModel) -> float:
        """Return minus the cross-entropy at masked tokens of the held-out blocks.

        ``evaluate`` for :func:`imbik.training.loop.fit`.
        """
        return -float(mlm_quality(model, self.held, self.masker).loss)


def open_general(
    student: Checkpoint, context: Context, *, teacher: str, corpus: str, length: int, masker: Masker, where: str
) -> GeneralStage:
    """Open teacher and corpus of a general stage, and put a head on the student's encoder.

    Args:
        student: its encoder will be trained in place.
        context: of the step.
        teacher: folder or hub name of a masked language model; ``base``: the model that the task's
            teacher was fine-tuned from.
        corpus: see :func:`open_corpus`.
        length: tokens of a block.
        masker: hides tokens.
        where: the step, for messages.

    Raises:
        UserError: no such corpus or teacher, one without a masked-language-model head or with other
            tokens than the student's.
    """
    model, tokenizer = general_teacher(context.teacher, teacher, where)
    if tokenizer.get_vocab() != student.tokenizer.get_vocab():
        raise UserError(
            "the general teacher has another vocabulary than the student",
            where=f"{where}.teacher",
            found=f"{len(tokenizer)} and {len(student.tokenizer)} pieces",
            expected="the pretrained model that the task's teacher came from",
        )
    # Both read the same blocks, so the shorter of the two decides.
    longest = min(positions_of(model), positions_of(student.model))
    if not 8 <= length <= longest:
        raise UserError("blocks of this length cannot be read", where=f"{where}.block", found=length, expected=f"8 to {longest} tokens")
    documents = open_corpus(corpus, context.splits)
    blocks = build_blocks(documents, student.tokenizer, context.shared / "corpus", length=length, progress=context.progress)
    train, held = blocks.held_out()
    return GeneralStage(model.eval().requires_grad_(False), add_mlm_head(student.model), train, held, masker)


def open_corpus(corpus: str, splits: Splits) -> Documents:
    """Open the raw text of a general stage.

    Args:
        corpus: see :func:`imbik.data.documents.open_documents`, or ``task``: the texts of train and the user's unlabelled ones.

    Raises:
        UserError: nothing there, nothing that is text, no column.
    """
    if corpus != TASK_TEXTS:
        return open_documents(corpus)
    return documents_of([splits.train, *([splits.unlabelled] if splits.unlabelled else [])])


def general_files(task_teacher: Checkpoint, teacher: str, corpus: str) -> list[str]:
    """List the files, folders and hub names that a general stage reads.

    The task's own texts are not among them: they count with the data.
    """
    base = getattr(task_teacher.model.config, "imbik_base", None) if teacher == "base" else teacher
    return [str(name) for name in ("" if corpus == TASK_TEXTS else corpus, base) if name]


def base_of(task_teacher: Checkpoint, name: str, where: str) -> str:
    """Return folder or hub name of a general stage's teacher.

    ``base`` is the model that the task's teacher was fine-tuned from.

    Raises:
        UserError: ``base`` is not known.
    """
    base = getattr(task_teacher.model.config, "imbik_base", None) if name == "base" else name
    if not base:
        raise UserError(
            "it is not recorded which model the teacher was fine-tuned from",
            where=f"{where}.teacher",
            found=name,
            fix="name its folder: teacher: FOLDER",
        )
    return str(base)


def general_teacher(task_teacher: Checkpoint, name: str, where: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load the pretrained masked language model and its tokenizer.

    Raises:
        UserError: ``base`` is not known, or there is no head.
    """
    base = base_of(task_teacher, name, where)
    model, tokenizer, fresh = load_masked_lm(base, "general teacher")
    if fresh:
        raise UserError(
            "the general teacher has no masked-language-model head",
            where=f"{where}.teacher",
            found=base,
            fix=f"give it one: imbik finetune --task mlm --base {Path(base)} --data CORPUS --out DIR, then teacher: DIR",
        )
    return model, tokenizer


def add_mlm_head(model: PreTrainedModel) -> PreTrainedModel:
    """Make a ``…ForMaskedLM`` whose encoder is the model's own, weights shared.

    Of the same architecture; the head is new, tied to the table.
    """
    twin = AutoModelForMaskedLM.from_config(model.config, attn_implementation="eager", dtype=torch.float32)
    setattr(twin, twin.base_model_prefix, model.base_model)
    # The decoder is the table: with another encoder inside it must be tied anew.
    twin.tie_weights()
    return twin


@torch.no_grad()
def copy_mlm_head(teacher: PreTrainedModel, student: PreTrainedModel) -> bool:
    """Start the student's head from the teacher's, where both have the same shape.

    That is: a product, an activation, a norm and a bias of the same width.

    Returns:
        Whether it was possible.
    """
    teacher_parts, student_parts = _head_parts(teacher), _head_parts(student)
    if teacher_parts is None or student_parts is None or any(a.shape != b.shape for a, b in zip(teacher_parts, student_parts, strict=True)):
        return False
    for source, target in zip(teacher_parts, student_parts, strict=True):
        target.copy_(source)
    return True


def _head_parts(model: PreTrainedModel) -> list[Tensor] | None:
    """Return weight and bias of the product, of the norm, and the bias of the decoder.

    None for an architecture whose head is not known here.
    """
    kind = model.config.model_type
    if kind == "distilbert":
        dense, norm, decoder = model.vocab_transform, model.vocab_layer_norm, model.vocab_projector
    elif kind in ("bert", "mobilebert"):
        head = model.cls.predictions
        dense, norm, decoder = head.transform.dense, head.transform.LayerNorm, head.decoder
    elif kind in ("roberta", "xlm-roberta", "camembert"):
        dense, norm, decoder = model.lm_head.dense, model.lm_head.layer_norm, model.lm_head.decoder
    else:
        return None
    return [dense.weight, dense.bias, norm.weight, norm.bias, decoder.bias]


@dataclass
class Predictions:
    """Predictions of student and teacher for one batch of masked blocks.

    Logits ``(M, V)`` of the M tokens, and their labels ``(M,)``.
    """

    student: Tensor
    teacher: Tensor
    labels: Tensor

    def soft(self, temperature: float) -> Tensor:
        """Compute T² · KL(softmax(z_T / T) ‖ softmax(z_S / T)), mean over the tokens."""
        student, teacher = (F.log_softmax(z / temperature, dim=-1) for z in (self.student, self.teacher))
        # Times T²: gradients of the soft loss shrink by 1 / T² (Hinton et al. 2015, section 2.1).
        return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2

    def hard(self) -> Tensor:
        """Compute the cross-entropy at the masked ones among the tokens."""
        return F.cross_entropy(self.student, self.labels, ignore_index=IGNORED)


def predict_masked(
    student: PreTrainedModel, teacher: PreTrainedModel, batch: Batch, masker: Masker, everywhere: bool = False
) -> Predictions:
    """Hide tokens of a batch and let both models predict them.

    Or, ``everywhere``, all tokens.
    """
    ids, labels = masker(batch["input_ids"])
    inputs = model_inputs(batch) | {"input_ids": ids}
    # Everywhere: also at tokens that are not hidden, which the teacher has an opinion on as well.
    where = batch["attention_mask"].bool() if everywhere else labels != IGNORED
    with torch.no_grad():
        teacher_logits = masked_output(teacher, inputs, where).logits.float()
    student_logits = masked_output(student, inputs, where).logits.float()
    return Predictions(student_logits, teacher_logits, labels[where])
