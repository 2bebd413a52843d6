"""Self-attention relation distillation: MiniLM v2 (Wang et al. 2021, arXiv 2012.15828)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator

from imbik.distillation.attention_losses import RelationKL
from imbik.distillation.augmentation import Augment, files_of, with_augmented
from imbik.distillation.inner_states import learn_states
from imbik.distillation.soft_labels import learning_rows
from imbik.distillation.transfer import Pair
from imbik.errors import UserError
from imbik.methods.registry import Method, method
from imbik.models.teacher import Teacher
from imbik.training.context import Context
from imbik.training.settings import Count, Positive, Trained, Weight
from imbik.types import Checkpoint

_STATES = {"qq": "query", "kk": "key", "vv": "value"}


@method("minilm")
class MiniLM(Trained, Method):
    """Teach the student's last layer how every token relates to every other in one late layer of the teacher.

    L = Σ over relations a in {query, key, value} of weight · mean over R relation heads and tokens of
    KL(softmax(a_T a_Tᵀ/√d_T) ‖ softmax(a_S a_Sᵀ/√d_S)). Nothing has to match: width, heads and depth are free. Learns from the texts alone
    (train, then ``--unlabelled``), before a ``distill`` step gives the student its answers.

    Attributes:
        layer: the teacher's layer, counted from 1; ``auto``: the last one, of deeper teachers than 12 layers the one at 7/8 of the depth
            (the paper takes 21 of 24).
        relation_heads: R; ``auto``: the largest number that divides both widths and leaves the student 8 numbers a head.
        relations: which of ``qq``, ``kk``, ``vv``.
        weights: one factor per relation; empty: 1 each.
        augment: see :class:`imbik.distillation.augmentation.Augmentation`; ``false``: the texts as they are.
        target_steps, learning_rate and the others: see :class:`imbik.training.settings.Trained`.
    """

    keeps_shape: ClassVar[bool] = True
    layer: Count | Literal["auto"] = "auto"
    relation_heads: Count | Literal["auto"] = "auto"
    relations: tuple[Literal["qq", "kk", "vv"], ...] = ("qq", "kk", "vv")
    weights: tuple[Weight, ...] = ()
    augment: Augment = False
    target_steps: Count = 1000
    learning_rate: Positive = 5e-4

    @model_validator(mode="after")
    def _weighted(self) -> MiniLM:
        if not self.relations or len(set(self.relations)) < len(self.relations):
            raise ValueError("relations: some of qq, kk and vv, each once")
        if self.weights and len(self.weights) != len(self.relations):
            raise ValueError(f"one weight per relation: {len(self.relations)} numbers, not {len(self.weights)}")
        if self.weights and not any(self.weights):
            raise ValueError("a weight above 0: there is nothing to learn")
        return self

    def apply(self, checkpoint: Checkpoint, context: Context) -> Checkpoint:
        """Return the student after training; its head is not touched.

        Raises:
            UserError: a layer or a number of heads that does not fit, other tokens than the teacher's.
        """
        rows = with_augmented(learning_rows(context.splits), self.augment, context)
        return learn_states(checkpoint, context.teacher, self.pairs(context.teacher), rows, self, context, "learning relations")

    def reads(self, teacher: Teacher) -> list[str]:
        """Return the files and folders that augmentation reads."""
        return files_of(self.augment)

    def pairs(self, teacher: Teacher) -> list[Pair]:
        """Return one pair per relation, between the student's last layer and the teacher's ``layer``."""
        depth = teacher.depth
        layer = (depth if depth <= 12 else round(depth * 7 / 8)) if self.layer == "auto" else self.layer
        if layer > depth:
            raise UserError("the teacher has no such layer", where="minilm.layer", found=layer, expected=f"auto, or 1 to {depth}")
        weights = self.weights or (1.0,) * len(self.relations)
        named = zip(self.relations, weights, strict=True)
        # -1: the last layer of the student, whatever its depth; recipes count layers from 1, states
        # from 0
        return [Pair(f"{_STATES[r]}.-1", f"{_STATES[r]}.{layer - 1}", RelationKL(self.relation_heads), w) for r, w in named]
