"""Knowledge transfer from IB-BERT to MobileBERT, block by block: what is compared, and in which order it trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from torch import Tensor, nn

from imbik.distillation.attention_losses import AttentionKL
from imbik.distillation.feature_losses import FeatureMoments, HiddenMSE
from imbik.distillation.teacher_states import LiveTeacher
from imbik.distillation.transfer import Pair, Transfer
from imbik.models.anatomy import anatomy
from imbik.models.blocks import layer_stack
from imbik.pretraining.corpus import Blocks
from imbik.pretraining.masking import Masker
from imbik.training.context import Context
from imbik.training.encoding import Encoded
from imbik.training.loop import fit
from imbik.training.prediction import Batch, to_batch
from imbik.training.settings import Training

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Weights:
    """Factors of the transfers: attention, normalized feature maps, their means and their variances."""

    attention: float
    hidden: float
    mean: float
    variance: float

    def pairs(self, state: str) -> list[Pair]:
        """Return the feature map terms of one state."""
        # both factors act inside this loss; the pair's own weight is 0 only where both are
        moments = FeatureMoments(self.mean, self.variance)
        pairs = [
            Pair(state, state, HiddenMSE(normalize=True), self.hidden),
            Pair(state, state, moments, float(self.mean + self.variance > 0)),
        ]
        return [pair for pair in pairs if pair.weight > 0]

    def block(self, index: int) -> list[Pair]:
        """Return all terms of one block: feature maps, and attention as KL(P_T ‖ P_S) head by head."""
        attention = Pair(f"scores.{index}", f"scores.{index}", AttentionKL(), self.attention)
        return [*self.pairs(f"hidden.{index}"), *([attention] if self.attention > 0 else [])]


@dataclass(frozen=True)
class BlockTransfer:
    """One transfer from an IB-BERT to a student of the same width between blocks, on texts or on a corpus.

    Attributes:
        ib, student: models of the MobileBERT class (with any head).
        data: rows, or the blocks of a corpus.
        masker: hides tokens of a corpus, as the paper's teacher and student both read masked text; None: the rows as they are.
        weights: of the terms.
        match_embeddings: learn the embeddings from the teacher's; else they are copies and stay so.
        training: settings; its ``max_steps`` is what all blocks have together.
        context: of the step.
    """

    ib: PreTrainedModel
    student: PreTrainedModel
    data: Encoded | Blocks
    masker: Masker | None
    weights: Weights
    match_embeddings: bool
    training: Training
    context: Context

    def run(self, schedule: Literal["progressive", "joint"]) -> None:
        """Train ``progressive``: block after block, those below frozen; ``joint``: all blocks at once."""
        blocks = len(layer_stack(self.student.base_model)[1])
        if schedule == "joint":
            self._fit(self._pairs(range(blocks)), range(blocks), self.training.max_steps, "all blocks")
            return
        each = max(1, self.training.max_steps // blocks)
        for i in range(blocks):
            self._fit(self._pairs(range(i, i + 1)), range(i, i + 1), each, f"block {i + 1} of {blocks}")

    def loss(self) -> nn.Module:
        """Return all terms together, for the auxiliary schedule: called as ``loss(model, batch)``, it runs ``model.base_model``."""
        pairs = self._pairs(range(len(layer_stack(self.student.base_model)[1])))
        transfer = self._transfer(pairs, self.ib.base_model)
        transfer.bind(self.student.base_model, self._example())
        return OnBaseModel(transfer)

    def _pairs(self, blocks: range) -> list[Pair]:
        first = self.weights.pairs("embeddings") if self.match_embeddings and blocks[0] == 0 else []
        return first + [pair for i in blocks for pair in self.weights.block(i)]

    def _fit(self, pairs: list[Pair], blocks: range, steps: int, what: str) -> None:
        student, teacher = self.student.base_model, self.ib.base_model
        with first_blocks(student, blocks[-1] + 1), first_blocks(teacher, blocks[-1] + 1):
            transfer = self._transfer(pairs, teacher)
            # before the freeze: binding wants every state to have a gradient
            transfer.bind(student, self._example())
            self._thaw(blocks)
            fit(
                student,
                transfer if self.masker is None else MaskedBatchLoss(transfer, self.masker),
                self.data,
                replace(self.training, epochs=1 << 20, max_steps=steps),
                # a folder for each block: a run that was killed finds the finished blocks and skips
                # them
                replace(self.context.training(what.replace(" ", "-")), seed=self.context.seed + blocks[0]),
                what=f"knowledge transfer, {what}",
                pieces=self.data.pieces() if isinstance(self.data, Encoded) else None,
            )
        # the freeze ends with the block: what follows trains everything
        self.student.requires_grad_(True)

    def _thaw(self, blocks: range) -> None:
        """Let only these blocks train, and the embeddings with the first one where they are not copies."""
        base = self.student.base_model
        base.requires_grad_(False)
        for index in blocks:
            layer_stack(base)[1][index].requires_grad_(True)
        if self.match_embeddings and blocks[0] == 0:
            base.embeddings.requires_grad_(True)

    def _transfer(self, pairs: list[Pair], teacher: PreTrainedModel) -> Transfer:
        reader = anatomy(teacher)
        return Transfer(pairs, anatomy(self.student.base_model), LiveTeacher(teacher, reader, [pair.teacher for pair in pairs]))

    def _example(self) -> Batch:
        return to_batch(self.data, np.arange(min(32, len(self.data))))


class MaskedBatchLoss(nn.Module):
    """A loss on text in which tokens are hidden."""

    def __init__(self, loss: nn.Module, masker: Masker) -> None:
        super().__init__()
        self.loss, self.masker = loss, masker

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        value: Tensor = self.loss(model, batch | {"input_ids": self.masker(batch["input_ids"])[0]})
        return value


class OnBaseModel(nn.Module):
    """A loss on the encoder of a model with a head."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        value: Tensor = self.loss(model.base_model, batch)
        return value


class SumOfLosses(nn.Module):
    """The sum of two losses, each with its own pass through the model."""

    def __init__(self, *losses: Callable[[nn.Module, Batch], Tensor]) -> None:
        super().__init__()
        self.losses = nn.ModuleList(loss for loss in losses if isinstance(loss, nn.Module))

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        values = [loss(model, batch) for loss in self.losses]
        total: Tensor = values[0] + values[1]
        return total


@contextmanager
def first_blocks(base: PreTrainedModel, count: int) -> Iterator[None]:
    """Context manager: end an encoder of the MobileBERT class after its first ``count`` blocks, so that nothing above is computed."""
    # a shorter list of the same modules, not a copy: what trains in it is the model's own
    whole = base.encoder.layer
    base.encoder.layer = nn.ModuleList(list(whole)[:count])
    try:
        yield
    finally:
        base.encoder.layer = whole
