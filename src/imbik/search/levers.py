"""Whole recipes to choose from: the kind of student, its size, word pieces, bits, rank and made texts.

A recipe is a few choices by name. Every kind of student has choices of its own. The size of a student with layers is a number, its share of
the whole model's time or layers, so that it means the same whatever students there are to choose from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Protocol

import yaml

from imbik.compress.linear import check_linear
from imbik.compress.plan import LINEAR, able_engines, linear_document
from imbik.errors import UserError
from imbik.export.builders.registry import DEFAULT_ENGINES
from imbik.models.blocks import head_size
from imbik.models.teacher import Teacher
from imbik.recipes.recipe import Recipe, load_recipe, parse_recipe
from imbik.students.catalogue import parse_student
from imbik.students.pooled import why_not
from imbik.students.shape import MINI_HEAD, MINI_STEP
from imbik.students.spec import SAME
from imbik.tasks.outputs import TEXTS
from imbik.tasks.registry import task_of
from imbik.types import Splits

Value = str | int | float
Choices = dict[str, Value]
"""Name of a choice -> what was chosen. ``kind`` says which others there are."""

POOLED = ("bag", "conv")
WIDTHS = (32, 64, 128)
"""Of the vectors of students without layers."""

VOCABULARIES = ("all", "vocabulary", "vocabulary-tight")
BITS = ("int8", "int8-static", "int4")
RANKS = (1.0, 0.75, 0.5, 0.25)
"""Shares of the encoder's matrices that may be left; 1: they stay as they are."""

COPIES = (0, 2, 8)
"""Texts made of each."""

_MOST_MADE = 45_000
_FIRST = (0.2, 0.4, 0.7, 1.0)
"""Sizes of the students with layers that are made first."""


class Draw(Protocol):
    """Who chooses."""

    def one_of(self, name: str, options: Sequence[Value]) -> Any:
        """Choose one of some values."""

    def share(self, name: str) -> float:
        """Choose a number from 0 to 1."""


@dataclass(frozen=True)
class Size:
    """A student with layers.

    Attributes:
        name: part of the recipe's name.
        share: of the whole model's time or layers; 1: the whole model.
        student: as a recipe writes it; None: a copy of the teacher.
        steps: that make it of the student.
    """

    name: str
    share: float
    student: str | None = None
    steps: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Levers:
    """What there is to choose for one teacher.

    Attributes:
        teacher: the model to compress.
        splits: the data.
        sizes: students with layers, ascending in their share.
        distill: settings of the ``distill`` step of students with the teacher's layers.
        seed: of the recipes.
    """

    teacher: Teacher
    splits: Splits
    sizes: tuple[Size, ...]
    distill: dict[str, Any]
    seed: int

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of students, those that cost least to make first."""
        pooled = () if why_not(self.teacher.task, self.teacher.pairs) else POOLED
        return (*self._linear(), *pooled, "layers", *(["narrow"] if self.narrow else []))

    @cached_property
    def narrow(self) -> tuple[int, ...]:
        """Hidden sizes that students narrower than the teacher may have, ascending; none where they could not begin at the teacher's."""
        model = self.teacher.model
        if not self._texts or head_size(model) < MINI_HEAD:
            return ()
        # more heads than the teacher has, or as wide as it: nothing to begin with, or nothing gained
        end = min(int(model.config.hidden_size), MINI_HEAD * int(model.config.num_attention_heads) + 1)
        return tuple(range(MINI_STEP, end, MINI_STEP))

    def bits(self, kind: str) -> tuple[str, ...]:
        """Return the schemes that some engine can build for a kind of student.

        Raises:
            UserError: none can be built.
        """
        if not self._able[kind]:
            fix = "search layers, heads and widths alone: --levers architecture"
            raise UserError("no engine can build this kind of student in few bits", where="imbik search", found=kind, fix=fix)
        return self._able[kind]

    @cached_property
    def _able(self) -> dict[str, tuple[str, ...]]:
        """Kind of student -> the schemes that some engine can build; asked once, for a sampler asks for every recipe that it was told."""
        found, own = {}, str(self.teacher.model.config.model_type)
        for kind in (kind for kind in self.kinds if kind not in LINEAR):
            spec = parse_student(kind if kind in POOLED else f"mini-1x{self.narrow[0]}" if kind == "narrow" else None)
            planned = spec.plan(self.teacher).architecture
            architecture = own if planned == SAME else planned
            steps = {name: (*self.teacher.steps, *(_shipped_part(name).records())) for name in BITS}
            able = (name for name in BITS if able_engines(DEFAULT_ENGINES, steps[name], architecture, self.teacher.task)[0])
            found[kind] = tuple(able)
        return found

    def draw(self, draw: Draw) -> Choices:
        """Return the choices that somebody makes; where a choice has no effect, it stands for the one that is cheapest to make."""
        kind = str(draw.one_of("kind", self.kinds))
        found: Choices = {"kind": kind}
        if kind in LINEAR:
            return found
        if kind in POOLED:
            found[f"{kind} width"] = draw.one_of(f"{kind} width", WIDTHS)
        elif kind == "narrow":
            found["narrow depth"] = draw.one_of("narrow depth", range(1, self.teacher.depth + 1))
            found["narrow width"] = draw.one_of("narrow width", self.narrow)
        else:
            # as it is, and not as it was asked for: the sampler learns what was made
            found["layers size"] = self.nearest(draw.share("layers size")).share
            found["layers rank"] = draw.one_of("layers rank", RANKS)
        # images have no word pieces, and views in the place of made texts
        pieces, copies = (VOCABULARIES, COPIES) if self._texts else (VOCABULARIES[:1], COPIES[:1])
        for name, options in (("vocabulary", pieces), ("bits", self.bits(kind)), ("copies", copies)):
            found[f"{kind} {name}"] = draw.one_of(f"{kind} {name}", options)
        if kind == "layers" and found["layers size"] == 1.0 and found["layers rank"] == 1.0:
            # the whole model has nothing to learn from itself
            found["layers copies"] = 0
        return found

    def nearest(self, share: float) -> Size:
        """Return the student with layers whose size is nearest."""
        return min(self.sizes, key=lambda one: abs(one.share - share))

    def starts(self) -> list[Choices]:
        """Return what is made first whoever chooses: something of every kind, what costs least to make first."""
        found: list[Choices] = []
        for kind in self.kinds:
            if kind in LINEAR:
                found.append({"kind": kind})
            elif kind == "bag":
                found.append(self._start(kind, width=64, vocabulary="vocabulary-tight", bits="int4", copies=0))
                found.append(self._start(kind, width=128, vocabulary="vocabulary-tight", bits="int8", copies=0))
            elif kind == "conv":
                found.append(self._start(kind, width=128, vocabulary="vocabulary", bits="int8", copies=8))
            elif kind == "layers":
                shares = dict.fromkeys(self.nearest(share).share for share in _FIRST)
                found += [self._start(kind, size=share, rank=1.0, vocabulary="vocabulary", bits="int8", copies=0) for share in shares]
            else:
                depth, width = min(2, self.teacher.depth), self.narrow[len(self.narrow) // 2]
                found.append(self._start(kind, depth=depth, width=width, vocabulary="vocabulary", bits="int8", copies=0))
        return found

    def _start(self, kind: str, **chosen: Value) -> Choices:
        # a kind that no engine runs in these bits begins with the first ones that it has
        able = self.bits(kind)
        chosen["vocabulary"] = chosen["vocabulary"] if self._texts else VOCABULARIES[0]
        chosen["bits"] = chosen["bits"] if chosen["bits"] in able else able[0]
        return {"kind": kind, **{f"{kind} {name}": value for name, value in chosen.items()}}

    def document(self, choices: Choices) -> dict[str, Any]:
        """Return the recipe of some choices, as YAML has it."""
        kind = str(choices["kind"])
        if kind in LINEAR:
            return linear_document(kind)
        own = {name.removeprefix(f"{kind} "): value for name, value in choices.items()}
        copies, vocabulary, bits = int(own["copies"]), str(own["vocabulary"]), str(own["bits"])
        if kind == "layers":
            name, student, steps = self._layered(float(own["size"]), float(own["rank"]), copies)
        else:
            student = f"{kind}-{own['width']}" if kind in POOLED else f"mini-{own['depth']}x{own['width']}"
            name, steps = student, [{"distill": _shipped(student) | _made(copies)}]
        # behind the training, which students of other vocabularies and bits share
        parts = [part for part in (vocabulary, bits) if part != "all"]
        steps += [dict(step.written()) for part in parts for step in _shipped_part(part).steps]
        whole = "+".join([name, *([f"made-{copies}"] if copies else []), *parts])
        return {"name": whole, **({} if student is None else {"student": student}), "steps": steps, "seed": self.seed}

    def _layered(self, share: float, rank: float, copies: int) -> tuple[str, str | None, list[dict[str, Any]]]:
        size = self.nearest(share)
        steps = [*size.steps, *([{"low_rank": {"method": "svd", "budget": rank}}] if rank < 1 else [])]
        if size.share < 1 or rank < 1:
            # more texts deserve more updates, as in the shipped recipes
            longer = {"target_steps": 2 * int(self.distill["target_steps"])} if copies and "target_steps" in self.distill else {}
            steps.append({"distill": self.distill | longer | _made(copies)})
        return f"{size.name}+rank-{round(100 * rank)}" if rank < 1 else size.name, size.student, steps

    @property
    def _texts(self) -> bool:
        return task_of(self.teacher.task).reads == TEXTS

    def _linear(self) -> tuple[str, ...]:
        try:
            check_linear(self.splits, LINEAR[0])
        except UserError:
            return ()
        return LINEAR


def recipe_of(document: dict[str, Any], where: str) -> Recipe | str:
    """Return a recipe as ``compress`` takes it; a linear student, which has no steps, by its name."""
    student = ({"student": None} | document)["student"]
    return str(student) if student in LINEAR else parse_recipe(yaml.safe_dump(document, sort_keys=False), where)


def layers_of(teacher: Teacher) -> tuple[Size, ...]:
    """Return the students that are the teacher's own layers, fewer of them: what there is to choose from without a supernet."""
    # a network without a width and heads of its own (ResNet, ConvNeXt) has stages, and no layers that are alike
    alike = all(getattr(teacher.model.config, name, None) is not None for name in ("hidden_size", "num_attention_heads"))
    depth = teacher.depth if alike else 1
    fewer = [Size(f"layers-{count}", count / depth, f"layers-{count}") for count in range(1, depth)]
    return (*fewer, Size("whole", 1.0))


@cache
def _shipped_part(name: str) -> Recipe:
    return load_recipe(name)


def _shipped(student: str) -> dict[str, Any]:
    """Return the training of a student as the shipped recipe has it."""
    (step,) = _shipped_part(student).steps
    return dict(step.written()["distill"])


def _made(copies: int) -> dict[str, Any]:
    """Return the setting of ``distill`` that makes texts."""
    return {"augment": {"masked_model": "none", "copies": copies, "most": _MOST_MADE}} if copies else {}
