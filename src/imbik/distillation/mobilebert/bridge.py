"""The parts that make an IB-BERT of a classic teacher, and what it must have in common with its student."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from imbik.distillation.attention_losses import AttentionKL
from imbik.distillation.feature_losses import HiddenMSE
from imbik.distillation.transfer import Pair
from imbik.errors import UserError
from imbik.models.checkpoint import labels_of
from imbik.models.pretrained import load_checkpoint
from imbik.pretraining.general import GeneralStage, predict_masked
from imbik.students.layer_map import uniform_layers
from imbik.students.mobilebert import MobileShape
from imbik.training.encoding import Rows
from imbik.training.losses import distillation_loss
from imbik.training.prediction import Batch, to_batch
from imbik.types import Checkpoint, TaskName

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class PretrainingDistillation(nn.Module):
    """truth · MLM + (1 - truth) · KL(teacher ‖ student) at the masked tokens: eq. 4 of the paper without next-sentence prediction."""

    def __init__(self, general: GeneralStage, truth: float) -> None:
        super().__init__()
        self.general, self.truth = general, truth

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        predicted = predict_masked(model, self.general.teacher.to(batch["input_ids"].device), batch, self.general.masker)
        # soft(1.0): eq. 4 has no temperature
        return self.truth * predicted.hard() + (1.0 - self.truth) * predicted.soft(1.0)


class TaskLogits(nn.Module):
    """The task's loss between logits, as a pair's loss."""

    def __init__(self, task: TaskName, unit: float = 1.0) -> None:
        super().__init__()
        self.task, self.unit = task, unit

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
        return distillation_loss(self.task, student.float(), teacher.float(), 2.0) / self.unit


def shape_of(model: PreTrainedModel) -> MobileShape:
    """Return the numbers of a MobileBERT.

    Raises:
        UserError: a model of another class.
    """
    config = model.config
    if config.model_type != "mobilebert":
        raise UserError(
            "the student is no MobileBERT",
            where="mobilebert",
            found=config.model_type,
            expected="a recipe with student: mobilebert",
            fix="use tinybert, minilm, distilbert or distill for other students",
        )
    return MobileShape(
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        bottleneck=config.true_hidden_size,
        heads=config.num_attention_heads,
        feedforwards=config.num_feedforward_networks,
        embedding=config.embedding_size,
    )


def fits(ib: PreTrainedModel, shape: MobileShape) -> bool:
    """Return whether a model can teach a student of this shape: the same but for what is inside its blocks."""
    same = ib.config.model_type == "mobilebert"
    # 0 on both sides takes the numbers out of the comparison that may differ
    return same and replace(shape_of(ib), bottleneck=0, feedforwards=0) == replace(shape, bottleneck=0, feedforwards=0)


def bridge_pairs(classic: int, ib: int) -> list[Pair]:
    """Return what an IB-BERT learns of a classic teacher: embeddings, states and attention of evenly mapped layers.

    Args:
        classic, ib: how many layers each has.
    """
    if ib <= classic:
        matched = list(enumerate(uniform_layers(classic, ib)))
    else:
        # more blocks than layers: each layer is matched once, and the blocks between stay free
        matched = [(block, layer) for layer, block in enumerate(uniform_layers(ib, classic))]
    pairs = [Pair("embeddings", "embeddings", HiddenMSE(project=True))]
    for block, layer in matched:
        pairs.append(Pair(f"hidden.{block}", f"hidden.{layer}", HiddenMSE(project=True)))
        pairs.append(Pair(f"scores.{block}", f"scores.{layer}", AttentionKL()))
    return pairs


def block_map(layers: int, blocks: int) -> list[int]:
    """Return the classic layer that each block starts from; where there are more blocks than layers, each layer starts several.

    >>> block_map(6, 3), block_map(2, 3)
    ([1, 3, 5], [0, 0, 1])
    """
    return uniform_layers(layers, blocks) if blocks <= layers else [i * layers // blocks for i in range(blocks)]


def given_ib_bert(folder: str, shape: MobileShape, classic: Checkpoint) -> Checkpoint:
    """Load a fine-tuned IB-BERT from a folder.

    Raises:
        UserError: it cannot be opened, has another shape than the student or other labels than the classic teacher.
    """
    ib = load_checkpoint(folder, role="IB-BERT")
    if not fits(ib.model, shape):
        raise other_shape(folder, ib.model, shape)
    if labels_of(ib) != labels_of(classic):
        raise UserError(
            "the IB-BERT has other labels than the teacher", where=folder, found=labels_of(ib)[:6], expected=labels_of(classic)[:6]
        )
    return ib


def other_shape(folder: str, model: PreTrainedModel, shape: MobileShape) -> UserError:
    """Return the message for an IB-BERT that does not fit."""
    found = model.config.model_type if model.config.model_type != "mobilebert" else str(shape_of(model))
    expected = (
        f"a MobileBERT-class model with {shape.layers} blocks of width {shape.hidden}, {shape.heads} heads, embeddings {shape.embedding}"
    )
    return UserError("the IB-BERT does not fit the student", where=folder, found=found, expected=expected)


def sample(data: Rows, rows: int = 256) -> Batch:
    """Return rows evenly spread over the data, as one batch."""
    return to_batch(data, np.unique(np.linspace(0, len(data) - 1, min(rows, len(data))).astype(np.int64)))
