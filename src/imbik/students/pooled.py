"""Students without a Transformer layer: bags of word pieces, convolutions and LSTMs, started from the teacher's word vectors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from transformers import AutoConfig

from imbik.errors import UserError
from imbik.models.architectures.ordered import ConvConfig, LstmConfig
from imbik.models.architectures.pooled import BagConfig
from imbik.models.architectures.registry import has_head, introduce
from imbik.models.checkpoint import set_labels
from imbik.models.pretrained import empty_model
from imbik.models.sentences.pooling import inherit_pooling
from imbik.models.teacher import Teacher
from imbik.models.units import inherit_units
from imbik.students.pieces import piece_counts, piece_states, principal_pieces, read_alone
from imbik.students.spec import Inherited, StudentPlan, StudentSpec, Written, count_of, family_of, flag_of, init_of, refuse_unknown
from imbik.tasks.registry import task_of
from imbik.types import Checkpoint, Examples

_HEADS = 8
_WIDTH = 128
_UNITS = 256
STARTS = ("teacher", "answers", "random")
"""Where vectors start: at what the teacher's first layer takes of a piece, at what its last layer says of it, or anywhere."""

_QUIET = -4.0
"""The score that special tokens start from: e^-4 of a word's weight, since every text has them."""


def why_not(task_name: str, pairs: bool | None) -> str | None:
    """Return why no student without layers can answer for a teacher, or None when one can.

    Args:
        task_name: the teacher's task.
        pairs: whether it answers pairs of texts.
    """
    if pairs:
        return "a student without layers cannot compare two texts: it reads each piece without the other text"
    task = task_of(task_name)
    if not task.one_row or not has_head(BagConfig, task.architecture):
        return f"a student without layers gives one answer a text, which is not what the task {task.name} asks"
    return None


@dataclass(frozen=True)
class PooledPlan(StudentPlan):
    """A student without layers that will be made.

    Attributes:
        numbers: of its config.
        init: where the vectors start, one of :data:`STARTS`.
    """

    numbers: Mapping[str, int]
    init: str

    def make(self, inherited: Inherited, texts: Examples) -> Checkpoint:
        """Make the student; unless they start at random, its vectors are the teacher's on the principal directions of the texts."""
        introduce()
        shape = {"vocab_size": inherited.vocabulary, "pad_token_id": inherited.padding, **self.numbers}
        config = AutoConfig.for_model(str(self.architecture), **shape)
        set_labels(config, inherited.task, inherited.labels)
        inherit_units(config, inherited.config)
        inherit_pooling(config, inherited.config)
        model: Any = empty_model(config, inherited.task)
        if self.init != "random":
            self._start_vectors(model, texts)
        with torch.no_grad():
            special = [index for index in inherited.tokenizer.all_special_ids if index < inherited.vocabulary]
            model.embeddings.weight[special] = 0.0
            model.embeddings.weight[special, config.hidden_size :] = _QUIET
        return Checkpoint(model.eval(), inherited.tokenizer, inherited.task)

    @torch.no_grad()
    def _start_vectors(self, model: Any, texts: Examples) -> None:
        teacher, width = self.teacher, int(self.numbers["hidden_size"])
        rows = int(model.config.vocab_size)
        if self.init == "answers":
            states = read_alone(teacher.model, teacher.tokenizer, rows)
        else:
            states = piece_states(teacher.model, teacher.anatomy.layers[0].input.path, rows)
        model.embeddings.weight[:, :width] = principal_pieces(states, piece_counts(teacher.tokenizer, texts, rows), width)


@dataclass(frozen=True)
class BagPlan(PooledPlan):
    """A bag of word pieces."""

    architecture: ClassVar[str | None] = BagConfig.model_type


@dataclass(frozen=True)
class ConvPlan(PooledPlan):
    """Gated convolutions."""

    architecture: ClassVar[str | None] = ConvConfig.model_type


@dataclass(frozen=True)
class LstmPlan(PooledPlan):
    """LSTMs from both ends."""

    architecture: ClassVar[str | None] = LstmConfig.model_type


@dataclass(frozen=True)
class Pooled(StudentSpec):
    """What these families share.

    Attributes:
        hidden: d, the width of a piece's vector.
        heads: H, learned queries.
        intermediate: units of the head, between what is pooled and the labels.
        init: where the vectors start, one of :data:`STARTS`.
    """

    hidden: int = _WIDTH
    heads: int = _HEADS
    intermediate: int = _UNITS
    init: str = "teacher"
    family: ClassVar[str]
    planned: ClassVar[type[PooledPlan]]
    fields: ClassVar[tuple[str, ...]] = ("family", "heads", "hidden", "init", "intermediate")
    flags: ClassVar[tuple[str, ...]] = ()
    """Those of the fields that are true or false."""

    @classmethod
    def parse(cls, written: Written) -> Self | None:
        """Return the spec of the family's name, of the name and a width (``bag-64``), or of a mapping of the family."""
        if isinstance(written, str):
            match = re.fullmatch(rf"{cls.family}(?:-(\d+))?", written)
            return None if match is None else cls(written, hidden=int(match[1] or _WIDTH))._checked()
        if not isinstance(written, Mapping) or family_of(written) != cls.family:
            return None
        refuse_unknown(written, cls.fields)
        numbers = {
            name: number for name in cls.fields if name not in ("family", "init", *cls.flags) and (number := count_of(written, name))
        }
        flags = {name: flag for name in cls.flags if (flag := flag_of(written, name)) is not None}
        return cls(written, init=init_of(written, STARTS, cls.init), **numbers, **flags)._checked()

    def _checked(self) -> Self:
        if self.hidden < 1 or self.hidden % self.heads:
            raise UserError(
                "the heads do not divide the width",
                where="student",
                found=f"hidden {self.hidden}, heads {self.heads}",
                expected="hidden a multiple of heads",
            )
        return self

    def plan(self, teacher: Teacher) -> PooledPlan:
        """Decide the numbers of the student.

        Raises:
            UserError: the task is none that such a student can answer.
        """
        reason = why_not(teacher.task, teacher.pairs)
        if reason is not None:
            raise UserError(reason, where="student", found=self.written, expected="a student with layers, such as layers-1")
        return self.planned(teacher, self.numbers(), self.init)

    def numbers(self) -> dict[str, int]:
        """Return the numbers of the student's config."""
        return {"hidden_size": self.hidden, "num_attention_heads": self.heads, "intermediate_size": self.intermediate}


@dataclass(frozen=True)
class Bag(Pooled):
    """``bag``, ``bag-N`` for a width of N, or ``{family: bag, hidden: …, heads: …, bigrams: …, init: …}``.

    Attributes:
        bigrams: rows that pairs of neighboring pieces share by a hash; None: pieces alone count.
    """

    bigrams: int | None = None
    family: ClassVar[str] = "bag"
    fields: ClassVar[tuple[str, ...]] = ("bigrams", "family", "heads", "hidden", "init", "intermediate")
    planned: ClassVar[type[PooledPlan]] = BagPlan
    names: ClassVar[tuple[str, ...]] = ("bag", "bag-N")

    def numbers(self) -> dict[str, int]:
        """Return the numbers of the student's config."""
        return super().numbers() | {"bigrams": self.bigrams or 0}


@dataclass(frozen=True)
class Conv(Pooled):
    """``conv``, ``conv-N`` for vectors of N, or ``{family: conv, hidden: …, filters: …, kernel: …, layers: …, separable: …, …}``.

    Attributes:
        filters: f of each convolution; None: as wide as the vectors.
        kernel: pieces that a convolution reads, an odd number.
        layers: convolutions, one above the other.
        separable: whether a neighbor has one weight a channel in the place of a matrix: fewer products, less of the order of words.
    """

    filters: int | None = None
    kernel: int = 5
    layers: int = 1
    separable: bool = False
    init: str = "answers"
    family: ClassVar[str] = "conv"
    planned: ClassVar[type[PooledPlan]] = ConvPlan
    fields: ClassVar[tuple[str, ...]] = ("family", "filters", "heads", "hidden", "init", "intermediate", "kernel", "layers", "separable")
    flags: ClassVar[tuple[str, ...]] = ("separable",)
    names: ClassVar[tuple[str, ...]] = ("conv", "conv-N")

    def _checked(self) -> Self:
        if self.kernel % 2 == 0:
            raise UserError(
                "a convolution reads as many pieces before as after its own",
                where="student.kernel",
                found=self.kernel,
                expected="an odd number",
            )
        if (self.filters or 0) % self.heads:
            raise UserError(
                "the heads do not divide the filters",
                where="student",
                found=f"filters {self.filters}, heads {self.heads}",
                expected="filters a multiple of heads",
            )
        return super()._checked()

    def numbers(self) -> dict[str, int]:
        """Return the numbers of the student's config."""
        return super().numbers() | {
            "filters": self.filters or self.hidden,
            "kernel_size": self.kernel,
            "num_hidden_layers": self.layers,
            "separable": self.separable,
        }


@dataclass(frozen=True)
class Lstm(Pooled):
    """``lstm``, ``lstm-N`` for vectors of N, or ``{family: lstm, hidden: …, units: …, layers: …, heads: …, init: …}``.

    Attributes:
        units: of each direction; None: half of the width of the vectors, so that both together are as wide.
        layers: LSTMs, one above the other.
    """

    units: int | None = None
    layers: int = 1
    family: ClassVar[str] = "lstm"
    planned: ClassVar[type[PooledPlan]] = LstmPlan
    fields: ClassVar[tuple[str, ...]] = ("family", "heads", "hidden", "init", "intermediate", "layers", "units")
    names: ClassVar[tuple[str, ...]] = ("lstm", "lstm-N")

    @property
    def _state(self) -> int:
        return self.units or self.hidden // 2

    def _checked(self) -> Self:
        if 2 * self._state % self.heads:
            raise UserError(
                "the heads do not divide the units of both directions",
                where="student",
                found=f"units {self._state}, heads {self.heads}",
                expected="twice the units a multiple of heads",
            )
        return super()._checked()

    def numbers(self) -> dict[str, int]:
        """Return the numbers of the student's config."""
        return super().numbers() | {"state_size": self._state, "num_hidden_layers": self.layers}
