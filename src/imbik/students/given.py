"""Students that are there already: a copy of the teacher, or a model of a folder or hub."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from imbik.images.processor import ImageProcessor
from imbik.models.pretrained import load_base
from imbik.models.teacher import Teacher
from imbik.students.bert import FIELDS
from imbik.students.spec import Inherited, StudentPlan, StudentSpec, Written, refuse_unknown
from imbik.types import Checkpoint, Examples


@dataclass(frozen=True)
class Copy(StudentSpec):
    """The teacher itself, copied: a recipe that names no student."""

    images: ClassVar[bool] = True

    @classmethod
    def parse(cls, written: Written) -> Copy | None:
        """Return the spec where nothing is written."""
        return cls(written) if written is None else None

    def plan(self, teacher: Teacher) -> CopyPlan:
        """Decide to copy the teacher; every teacher can be copied."""
        return CopyPlan(teacher)


@dataclass(frozen=True)
class CopyPlan(StudentPlan):
    """A copy of the teacher."""

    def make(self, inherited: Inherited, texts: Examples) -> Checkpoint:
        """Copy the teacher's model; the tokenizer is shared."""
        # steps change their checkpoint in place, and the teacher must stay what the student is
        # measured by
        return Checkpoint(copy.deepcopy(self.teacher.model), self.teacher.tokenizer, self.teacher.task)


@dataclass(frozen=True)
class Given(StudentSpec):
    """A model by name: ``{from: folder or hub name}``, with a new head.

    Attributes:
        source: the folder or hub name.
    """

    source: str
    images: ClassVar[bool] = True

    @classmethod
    def parse(cls, written: Written) -> Given | None:
        """Return the spec where a mapping has ``from``."""
        if not isinstance(written, Mapping) or "from" not in written:
            return None
        refuse_unknown(written, FIELDS)
        return cls(written, str(written["from"]))

    def plan(self, teacher: Teacher) -> GivenPlan:
        """Decide to open the model when it is needed; finished work of it is found again where its hub is out of reach."""
        return GivenPlan(teacher, self.source)

    def reads(self) -> list[str]:
        """Return the folder or hub name."""
        return [self.source]


@dataclass(frozen=True)
class GivenPlan(StudentPlan):
    """A model by name.

    Attributes:
        source: the folder or hub name.
    """

    source: str
    architecture: ClassVar[str | None] = None

    def make(self, inherited: Inherited, texts: Examples) -> Checkpoint:
        """Open the model and give it a new head; texts are cut at the teacher's length at most.

        Raises:
            UserError: it cannot be opened.
        """
        started = load_base(self.source, inherited.task, inherited.labels)
        if isinstance(started.tokenizer, ImageProcessor):
            return Checkpoint(started.model.eval(), started.tokenizer, inherited.task, notes=started.notes)
        # the teacher's answers are about the part of a text that it read itself
        started.tokenizer.model_max_length = min(started.tokenizer.model_max_length, inherited.tokenizer.model_max_length)
        return Checkpoint(started.model.eval(), started.tokenizer, inherited.task)
