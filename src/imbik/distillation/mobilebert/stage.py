"""One stage of the knowledge transfer: what it trains on, and the way from a classic teacher over an IB-BERT to the student.

The task stage and the general stage are the same plan over different texts, :class:`BlockwiseTransfer`; a stage says what it reads, which
models take part, and what predicts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from torch import nn

from imbik.distillation.mobilebert.bridge import block_map, bridge_pairs, sample
from imbik.distillation.mobilebert.schedule import BlockTransfer, MaskedBatchLoss, SumOfLosses, Weights
from imbik.distillation.mobilebert.start import copy_from_ib, start_ib_bert
from imbik.distillation.soft_labels import without_dropout
from imbik.distillation.teacher_states import LiveTeacher
from imbik.distillation.transfer import Pair, Transfer
from imbik.errors import UserError
from imbik.models.anatomy import Anatomy, anatomy
from imbik.pretraining.corpus import Blocks
from imbik.pretraining.masking import Masker
from imbik.students.mobilebert import MobileShape, make_ib_bert
from imbik.students.shape import intermediate_of
from imbik.students.spec import Inherited
from imbik.training.context import Context
from imbik.training.encoding import Encoded
from imbik.training.loop import Evaluate, fit
from imbik.training.prediction import Batch
from imbik.training.settings import Training

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Schedule = Literal["progressive", "joint", "auxiliary"]


class TransferSettings(Protocol):
    """What a transfer reads of :class:`imbik.methods.mobilebert.MobileBert`."""

    @property
    def schedule(self) -> Schedule:
        """In which order blocks and prediction train."""

    @property
    def embeddings(self) -> Literal["copy", "match"]:
        """Whether the embeddings are copied or learned."""

    @property
    def inner(self) -> int:
        """Width inside the IB-BERT's blocks; 0: the classic teacher's."""

    @property
    def weights(self) -> Weights:
        """Factors of the four terms."""

    @property
    def bridge(self) -> Training:
        """How the IB-BERT is made."""

    @property
    def transfer_steps(self) -> int:
        """Steps of the transfer, all blocks together."""

    def training(self, steps: int) -> Training:
        """Return how everything else trains."""


@dataclass(frozen=True)
class Stage:
    """What is trained on, by the IB-BERT and by the student.

    Attributes:
        data: rows of texts, or the blocks of a corpus.
        masker: hides tokens of a corpus, as the paper's teacher and student both read masked text; None: the rows as they are.
        context: of the step.
        starts: rows that the weights of a start are fitted to.
        binds: rows that projections are fitted to.
    """

    data: Encoded | Blocks
    masker: Masker | None
    context: Context
    starts: int
    binds: int

    def sample(self) -> Batch:
        """Return the rows that the weights of a start are fitted to, ``(B, T)``."""
        return sample(self.data, self.starts)

    def on_text(self, loss: nn.Module) -> nn.Module:
        """Return a loss that reads its batches as this stage shows them."""
        return loss if self.masker is None else MaskedBatchLoss(loss, self.masker)

    def fit(self, model: nn.Module, loss: nn.Module, training: Training, what: str, evaluate: Evaluate | None = None) -> None:
        """Train ``model`` in place, see :func:`imbik.training.loop.fit`; dev may hold other word pieces, so with it all of them train."""
        pieces = self.data.pieces() if isinstance(self.data, Encoded) and evaluate is None else None
        run = self.context.training(what.replace(" ", "-"))
        fit(model, loss, self.data, training, run, what=what, evaluate=evaluate, pieces=pieces)


class BlockwiseTransfer(ABC):
    """A transfer from a classic teacher to a MobileBERT student.

    Args:
        stage: what it trains on.
        student: a model of the MobileBERT class with any head; trained in place.
        shape: the student's.
        settings: of the step.
    """

    def __init__(self, stage: Stage, student: PreTrainedModel, shape: MobileShape, settings: TransferSettings) -> None:
        self.stage = stage
        self.student = student
        self.shape = shape
        self.settings = settings

    def run(self) -> None:
        """Teach the student, block by block and by prediction, as the schedule says.

        Raises:
            UserError: an IB-BERT of another shape or with other labels.
        """
        ib = self.ib_bert()
        # embeddings and norms first: every block's transfer assumes that both read the same states
        copy_from_ib(ib, self.student, self.stage.sample())
        settings = self.settings
        blocks = BlockTransfer(
            ib=ib,
            student=self.student,
            data=self.stage.data,
            masker=self.stage.masker,
            weights=settings.weights,
            match_embeddings=settings.embeddings == "match",
            training=settings.training(settings.transfer_steps),
            context=self.stage.context,
        )
        if settings.schedule == "auxiliary":
            self.predict(settings.transfer_steps, lambda prediction: SumOfLosses(self.stage.on_text(blocks.loss()), prediction))
        else:
            blocks.run(settings.schedule)
            self.predict_afterwards()

    @abstractmethod
    def ib_bert(self) -> PreTrainedModel:
        """Return the IB-BERT that teaches the student: given, or made."""

    @abstractmethod
    def predict(self, steps: int, joined: Callable[[nn.Module], nn.Module]) -> None:
        """Train the student to predict, for ``steps`` steps beside those that prediction has of its own; ``joined`` adds to the loss."""

    def predict_afterwards(self) -> None:  # noqa: B027  a stage without it has nothing to do here
        """Train the student to predict when its blocks are taught; nothing where that is a step of its own."""

    def make_ib_bert(self, ib: PreTrainedModel, encoder: PreTrainedModel, classic: PreTrainedModel, reader: Anatomy) -> PreTrainedModel:
        """Train an IB-BERT to compute what the classic teacher computes: its states, its attention, what it predicts.

        Args:
            ib: an empty IB-BERT; trained in place.
            encoder: the part of it whose states are compared: itself, or what is below its head.
            classic: the teacher, or what is below its head.
            reader: the classic teacher's.
        """
        batch = self.stage.sample()
        start_ib_bert(classic, reader, ib, block_map(len(reader.layers), self.shape.layers), batch)
        self.start_head(ib, batch)
        own = anatomy(encoder)
        pairs = [*bridge_pairs(len(reader.layers), len(own.layers)), *self.prediction_pairs()]
        transfer = Transfer(pairs, own, LiveTeacher(classic, reader, [pair.teacher for pair in pairs]))
        # behind the start: projections begin as fits to the very states that training begins with
        transfer.bind(encoder, sample(self.stage.data, self.stage.binds))
        without_dropout(ib)
        self.stage.fit(ib, self.bridge_loss(transfer), self.settings.bridge, "making the IB-BERT")
        return ib

    def start_head(self, ib: PreTrainedModel, batch: Batch) -> None:  # noqa: B027  a stage without it has nothing to do here
        """Start the IB-BERT's head; nothing where prediction has a head of its own."""

    def prediction_pairs(self) -> Sequence[Pair]:
        """Return the terms of prediction among the pairs of states."""
        return ()

    def bridge_loss(self, transfer: nn.Module) -> nn.Module:
        """Return the loss that the IB-BERT is made with."""
        return transfer

    def empty_ib_bert(self, inherited: Inherited) -> PreTrainedModel:
        """Make an IB-BERT that fits the student, weights at random.

        Raises:
            UserError: the student's heads do not divide the width inside.
        """
        width = int(inherited.config.hidden_size)
        inner = self.settings.inner or width
        if inner % self.shape.heads:
            found = f"inner {inner}, heads {self.shape.heads}"
            raise UserError("the heads do not divide the width inside the IB-BERT", where="mobilebert.inner", found=found)
        # at the classic width the classic matrices are copied, so theirs must be the width inside
        # as well
        wide = intermediate_of(inherited.config) if inner == width else 4 * inner
        model: PreTrainedModel = make_ib_bert(inherited, self.shape, inner, wide).model
        return model
