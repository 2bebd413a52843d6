"""What a recipe asks of a student, and what is decided of it for one teacher: refused here, or certain to be made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import torch

from imbik.errors import UserError
from imbik.models.checkpoint import labels_of
from imbik.models.teacher import Teacher
from imbik.tasks.outputs import IMAGES
from imbik.tasks.registry import task_of
from imbik.types import Checkpoint, Examples, TaskName

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerFast

Written = str | Mapping[str, object] | None
"""A student as a recipe writes it: a name, a mapping of numbers, or nothing."""

SAME = "the teacher's"
"""Stands for the architecture of the teacher, whatever it is."""


@dataclass(frozen=True)
class StudentSpec(ABC):
    """A student as a recipe asks for it, checked as far as that goes without a teacher.

    Attributes:
        written: the recipe's own words, which the keys of finished work, model cards and printed recipes repeat.
        images: whether a network that reads images may be such a student.
        names: what :func:`imbik.students.catalogue.student_names` lists for the family.
    """

    written: Written
    names: ClassVar[tuple[str, ...]] = ()
    images: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def parse(cls, written: Written) -> Self | None:
        """Return the spec that ``written`` stands for, or None where it asks for another family.

        Raises:
            UserError: a field that the family does not have, or a value that it cannot have.
        """

    @abstractmethod
    def plan(self, teacher: Teacher) -> StudentPlan:
        """Decide everything about the student, or refuse it.

        Raises:
            UserError: a shape that cannot be made for this teacher.
        """

    def reads(self) -> list[str]:
        """Return the folders and hub names whose content the student depends on, beside the teacher."""
        return []


@dataclass(frozen=True)
class Inherited:
    """What a student takes over from its teacher whatever its shape is.

    Attributes:
        config: the teacher's own, for positions, token types and the like.
        vocabulary: rows of its word table; 0 of images.
        tokenizer: cuts the student's texts, or prepares its images.
        task: what the student answers.
        labels: names in the order of the logits.
    """

    config: PretrainedConfig
    vocabulary: int
    tokenizer: PreTrainedTokenizerFast
    task: TaskName
    labels: tuple[str, ...]

    @classmethod
    def of(cls, teacher: Checkpoint) -> Inherited:
        """Return what a classifier or regressor hands down."""
        rows = 0 if task_of(teacher.task).reads == IMAGES else int(teacher.model.get_input_embeddings().num_embeddings)
        return cls(teacher.model.config, rows, teacher.tokenizer, teacher.task, labels_of(teacher))

    @property
    def padding(self) -> int:
        """The id of the padding token."""
        return int(self.tokenizer.pad_token_id or 0)

    @property
    def token_types(self) -> int:
        """How many token types the student knows: at least the two of a pair."""
        # RoBERTa has a single type, but the student's tokenizer may give a pair's second text type
        # 1
        return max(int(getattr(self.config, "type_vocab_size", 2) or 2), 2)


@dataclass(frozen=True)
class StudentPlan(ABC):
    """A student that will be made: nothing about it is open, and nothing is refused any more.

    Attributes:
        teacher: what it starts from; not changed.
        architecture: the ``model_type`` of the student's config; :data:`SAME`: the teacher's; None: known when it is opened.
    """

    teacher: Teacher
    architecture: ClassVar[str | None] = SAME

    def start(self, texts: Examples, seed: int) -> Checkpoint:
        """Make the student.

        Args:
            texts: task texts, for the principal directions of the teacher's hidden states.
            seed: of all weights that start at random.
        """
        # a plan draws nothing, so the weights follow from this seed alone, whatever ran before
        torch.manual_seed(seed)
        return self.make(Inherited.of(self.teacher), texts)

    @abstractmethod
    def make(self, inherited: Inherited, texts: Examples) -> Checkpoint:
        """Make the student from the current state of the random numbers.

        Args:
            inherited: what the teacher hands down whatever the shape is.
            texts: see :meth:`start`.
        """


def family_of(written: Written) -> object:
    """Return the family that a mapping names, ``bert`` where it names none; None for anything but a mapping."""
    return written.get("family", "bert") if isinstance(written, Mapping) else None


def init_of(written: Mapping[str, object], starts: Sequence[str] = ("teacher", "random"), usual: str = "teacher") -> str:
    """Return where the weights start, ``usual`` unless it is written.

    Raises:
        UserError: none of ``starts``.
    """
    init = written.get("init", usual)
    if init not in starts:
        raise UserError("unknown start", where="student.init", found=init, expected=f"one of {', '.join(starts)}")
    return str(init)


def count_of(written: Mapping[str, object], name: str) -> int | None:
    """Return a number of the mapping; None where it is not given or null.

    Raises:
        UserError: no whole number above zero.
    """
    value = written.get(name)
    if value is None:
        return None
    # YAML's `true` is an int in Python and would pass for 1
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError("must be a whole number above zero", where=f"student.{name}", found=value)
    return value


def flag_of(written: Mapping[str, object], name: str) -> bool | None:
    """Return a yes or no of the mapping; None where it is not given or null.

    Raises:
        UserError: neither.
    """
    value = written.get(name)
    if value is not None and not isinstance(value, bool):
        raise UserError("must be true or false", where=f"student.{name}", found=value)
    return value


def refuse_unknown(written: Mapping[str, object], known: tuple[str, ...], what: str = "unknown field", fix: str | None = None) -> None:
    """Refuse fields that a family does not have.

    Raises:
        UserError: naming them.
    """
    unknown = sorted(set(written) - set(known))
    if unknown:
        raise UserError(what, where="student", found=", ".join(unknown), expected=", ".join(known), fix=fix)
