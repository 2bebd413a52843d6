"""What will be made of a teacher: one plan per recipe, refused now and not after hours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from imbik.compress.keys import check_sources, recipe_key
from imbik.compress.options import Options
from imbik.errors import UserError
from imbik.models.teacher import Teacher
from imbik.recipes.ladder import ladder
from imbik.recipes.recipe import Recipe, load_recipe
from imbik.runtime.engines import quantize_step, refusal
from imbik.students.catalogue import plan as plan_student
from imbik.students.spec import StudentPlan
from imbik.types import Splits, Step

_RESERVED = {"teacher", "results.json", "report.html"}
_LONGEST = 100  # letters of a name


@dataclass(frozen=True)
class CandidatePlan:
    """One recipe for one teacher and its data.

    Attributes:
        recipe: what makes the candidate.
        student: what its steps are applied to.
        splits: the data.
        engines: what artefacts are asked for.
    """

    recipe: Recipe
    student: StudentPlan
    splits: Splits
    engines: tuple[str, ...]

    @property
    def name(self) -> str:
        """The recipe's name, which is the candidate's folder too."""
        return self.recipe.name

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The keys after the first step, the second, and so on."""
        return tuple(self._key(count) for count in range(1, len(self.recipe.steps) + 1))

    @cached_property
    def key(self) -> str:
        """The key of the whole candidate."""
        return self.keys[-1] if self.keys else self._key(0)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The record of all steps, the teacher's own included."""
        return (*self.student.teacher.steps, *self.recipe.records())

    @property
    def quantized(self) -> bool:
        """Whether the artefacts compute in integers."""
        return self.recipe.quantization is not None if self.recipe.steps else quantize_step(self.steps) is not None

    def able_engines(self) -> list[str]:
        """Return the engines that can build this candidate, see :func:`able_engines`."""
        return able_engines(self.engines, self.steps)

    def _key(self, count: int) -> str:
        return recipe_key(self.recipe, count, self.student.teacher, self.splits)


def able_engines(engines: Sequence[str], steps: Sequence[Step]) -> list[str]:
    """Return the engines that can build a model with these steps.

    Raises:
        UserError: none of them can.
    """
    reasons = {engine: refusal(engine, steps) for engine in engines}
    able = [engine for engine, reason in reasons.items() if reason is None]
    if not able:
        raise UserError("; ".join(str(reason) for reason in reasons.values()), fix="choose another engine or another recipe")
    return able


def plan_all(teacher: Teacher, splits: Splits, options: Options) -> list[CandidatePlan]:
    """Plan every candidate.

    Raises:
        UserError: a recipe that cannot be loaded, a student that cannot be made of this teacher, a file that is not there, two recipes
            of one name, an unknown engine or language.
    """
    recipes = [recipe if isinstance(recipe, Recipe) else load_recipe(recipe) for recipe in options.recipes or ladder(teacher)]
    _check_names([recipe.name for recipe in recipes])
    plans = [_plan(recipe, teacher, splits, options) for recipe in recipes]
    options.check()
    return plans


def _plan(recipe: Recipe, teacher: Teacher, splits: Splits, options: Options) -> CandidatePlan:
    try:
        student = plan_student(recipe.student, teacher)
    except UserError as error:
        error.where = f"{recipe.name}, {error.where}" if error.where else recipe.name
        raise
    check_sources(recipe, teacher)
    return CandidatePlan(recipe, student, splits, tuple(options.engines))


def _check_names(names: list[str]) -> None:
    folded = [name.casefold() for name in names]  # one folder on many systems
    duplicates = sorted({name for name in names if folded.count(name.casefold()) > 1})
    if duplicates:
        raise UserError(
            "two recipes have the same name", where="--recipe", found=", ".join(duplicates), fix="change 'name:' in one of them"
        )
    for name in names:
        if name.casefold() in _RESERVED or len(name) > _LONGEST:
            what = f"a name of more than {_LONGEST} letters" if len(name) > _LONGEST else "a name that the output folder needs"
            raise UserError(f"a recipe cannot have {what}", where="--recipe", found=name, fix="write it to a file and change its 'name:'")
