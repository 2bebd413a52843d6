"""Convolutional students: a network of stages with fewer blocks in each, or narrower ones."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from imbik.errors import UserError
from imbik.models.pretrained import empty_model
from imbik.models.structure import structure_of
from imbik.models.teacher import Teacher
from imbik.students.layer_map import uniform_layers
from imbik.students.spec import Inherited, StudentPlan, StudentSpec, Written, count_of, family_of, refuse_unknown
from imbik.tasks.outputs import IMAGES
from imbik.tasks.registry import task_of
from imbik.types import Checkpoint, Examples, Note

FIELDS = ("family", "blocks", "width")
_BLOCK = re.compile(r"(.*\bstages\.(\d+)\.layers\.)(\d+)(\..*)")
_MULTIPLE = 8  # channels are rounded to multiples of it: what processors multiply fastest


@dataclass(frozen=True)
class Stages(StudentSpec):
    """``blocks-N``, or a mapping of the family ``stages``: for teachers such as ResNet and ConvNeXt.

    Attributes:
        blocks: of each stage at most; None: as many as the teacher has.
        width: share of the teacher's channels; below 1 the student starts at random.
    """

    blocks: int | None = None
    width: float = 1.0
    names: ClassVar[tuple[str, ...]] = ("blocks-N",)
    images: ClassVar[bool] = True

    @classmethod
    def parse(cls, written: Written) -> Stages | None:
        """Return the spec of ``blocks-N``, or of a mapping of the family."""
        match = re.fullmatch(r"blocks-([1-9]\d*)", written) if isinstance(written, str) else None
        if match:
            return cls(written, int(match[1]))
        if not isinstance(written, Mapping) or family_of(written) != "stages":
            return None
        refuse_unknown(written, FIELDS)
        width = {"width": 1.0, **written}["width"]
        if isinstance(width, bool) or not isinstance(width, (int, float)) or not 0 < width <= 1:
            raise UserError("must be a share above 0", where="student.width", found=width, expected="up to 1")
        return cls(written, count_of(written, "blocks"), float(width))

    def plan(self, teacher: Teacher) -> StagesPlan:
        """Decide how many blocks each stage has.

        Raises:
            UserError: a teacher without stages, or with replaced layers.
        """
        depths = stage_depths(teacher)
        if depths is None or structure_of(teacher.model.config):
            raise UserError(
                "the teacher has no stages of blocks that could be cut",
                where="student",
                found=str(teacher.model.config.model_type),
                expected="a network such as ResNet or ConvNeXt",
                fix="choose layers-N for a Transformer",
            )
        fewer = tuple(depth if self.blocks is None else min(self.blocks, depth) for depth in depths)
        return StagesPlan(teacher, fewer, self.width)


@dataclass(frozen=True)
class StagesPlan(StudentPlan):
    """A network of stages.

    Attributes:
        depths: blocks of each stage.
        width: share of the teacher's channels.
    """

    depths: tuple[int, ...]
    width: float

    def make(self, inherited: Inherited, texts: Examples) -> Checkpoint:
        """Make the teacher's class anew; at its width each stage starts from blocks that lie evenly through the teacher's, its first among
        them.
        """
        teacher, config = self.teacher, copy.deepcopy(self.teacher.model.config)
        # the copy is changed below
        before = list(config.depths)
        config.depths = list(self.depths)
        if self.width < 1:
            config.hidden_sizes = [_narrow(size, self.width) for size in config.hidden_sizes]
            if hasattr(config, "embedding_size"):
                config.embedding_size = _narrow(config.embedding_size, self.width)
        model = empty_model(config, teacher.task)
        if self.width < 1:
            note = Note.of("random_start", names=("all layers",), model=type(teacher.model).__name__)
            return Checkpoint(model.eval(), teacher.tokenizer, teacher.task, notes=(note,))
        blocks = [_kept(old, new) for old, new in zip(before, self.depths, strict=True)]
        have = teacher.model.state_dict()
        model.load_state_dict({name: have[_source(name, blocks)] for name in model.state_dict()})
        return Checkpoint(model.eval(), teacher.tokenizer, teacher.task)


def stage_depths(teacher: Teacher) -> tuple[int, ...] | None:
    """Return how many blocks each stage of a network of images has; None for one without stages."""
    config = teacher.model.config
    depths, sizes = getattr(config, "depths", None), getattr(config, "hidden_sizes", None)
    # other networks have depths too, of stages that are named and built otherwise
    named = any(_BLOCK.fullmatch(name) for name in teacher.model.state_dict())
    if task_of(teacher.task).reads != IMAGES or not named or not depths or not sizes or len(depths) != len(sizes):
        return None
    return tuple(int(depth) for depth in depths)


def _kept(old: int, new: int) -> list[int]:
    """Return which of a stage's blocks a shorter one starts from: the first, which changes size and width, and others evenly.

    >>> _kept(6, 3), _kept(2, 1), _kept(3, 3)
    ([0, 3, 5], [0], [0, 1, 2])
    """
    return [0] if new == 1 else [0, *(1 + place for place in uniform_layers(old - 1, new - 1))]


def _source(name: str, blocks: list[list[int]]) -> str:
    """Return the teacher's name of a student's tensor."""
    match = _BLOCK.fullmatch(name)
    return name if match is None else f"{match[1]}{blocks[int(match[2])][int(match[3])]}{match[4]}"


def _narrow(size: Any, width: float) -> int:
    return max(_MULTIPLE, round(int(size) * width / _MULTIPLE) * _MULTIPLE)
