"""What will be made of a teacher: one plan per recipe, refused now and not after hours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from imbik.compress.keys import Common, recipe_keys, teacher_key
from imbik.compress.options import Options
from imbik.compress.parents import is_teacher, parent_of
from imbik.errors import UserError
from imbik.export.builders.registry import refusal
from imbik.export.request import quantize_step
from imbik.models.facts import convolutional
from imbik.models.teacher import Teacher
from imbik.recipes.groups import ungrouped
from imbik.recipes.ladder import image_ladder, ladder
from imbik.recipes.recipe import Recipe, load_recipe
from imbik.students.spec import SAME, StudentPlan
from imbik.students.stages import stage_depths
from imbik.tasks.outputs import IMAGES
from imbik.tasks.registry import task_of
from imbik.types import Splits, Step, TaskName

_LONGEST = 100  # letters of a name
_MADE_OF = 0.5  # share of the weights from which on a network is made of convolutions
LINEAR = ("linear", "linear-words")
"""The students that are no networks, and so have no recipe of steps (:mod:`imbik.compress.linear`)."""

_RESERVED = {*LINEAR, "rivals", "results.json", "report.html"}
"""What stands in the output folder beside the candidates."""


def linear_document(name: str) -> dict[str, object]:
    """Return the recipe of a linear student as YAML has it: there are no steps to edit."""
    return {"name": name, "student": name, "steps": []}


@dataclass(frozen=True)
class CandidatePlan:
    """One recipe for one teacher and its data, with everything decided that can be decided before it is made.

    Attributes:
        recipe: what makes the candidate.
        student: what its steps are applied to.
        keys: of all that the student depends on, then the student after the first step, the second, and so on.
        steps: the record of all steps, the teacher's own included.
        asked: engines that artefacts are asked for.
        engines: those of them that can build it; empty: ``refusal`` says why.
        refusal: why no engine can build it.
        parent: the same recipe without its ``quantize`` step, where the call names it (:func:`imbik.compress.parents.parent_of`).
    """

    recipe: Recipe
    student: StudentPlan
    keys: tuple[str, ...]
    steps: tuple[Step, ...]
    asked: tuple[str, ...]
    engines: tuple[str, ...]
    refusal: str | None = None
    parent: str | None = None

    @property
    def name(self) -> str:
        """The recipe's name, which is the candidate's folder too."""
        return self.recipe.name

    @property
    def key(self) -> str:
        """Of all that the finished model depends on."""
        return self.keys[-1]

    @property
    def quantized(self) -> bool:
        """Whether the artefacts compute in integers: by the recipe, or by what was done to the teacher."""
        return self.recipe.quantization is not None if self.recipe.steps else quantize_step(self.steps) is not None


@dataclass(frozen=True)
class Plans:
    """Everything that one call will make.

    Attributes:
        candidates: one plan for each recipe.
        teacher_key: of the teacher as it is, on this data.
    """

    candidates: tuple[CandidatePlan, ...]
    teacher_key: str


def able_engines(
    engines: Sequence[str], steps: Sequence[Step], architecture: str | None, task: TaskName
) -> tuple[tuple[str, ...], str | None]:
    """Return the engines that can build a model, and why none can where that is so.

    Args:
        engines: that are asked for.
        steps: that make the model.
        architecture: ``model_type`` of its config; None where that is not known before it is made.
        task: what it answers.
    """
    reasons = {engine: refusal(engine, steps, architecture, task=task) for engine in engines}
    able = tuple(engine for engine, reason in reasons.items() if reason is None)
    return able, None if able else "; ".join(str(reason) for reason in reasons.values())


def refuse_without_engine(refusal: str | None) -> None:
    """Refuse a model that no engine can build.

    Raises:
        UserError: with the engines' reasons.
    """
    if refusal is not None:
        raise UserError(refusal, fix="choose another engine or another recipe")


def plan_all(teacher: Teacher, splits: Splits, options: Options) -> Plans:
    """Plan every candidate.

    Raises:
        UserError: a recipe that cannot be loaded, a student that cannot be made of this teacher, a file that is not there, two recipes
            of one name, an unknown engine or language.
    """
    convolutions = convolutional(teacher.model)
    named = ungrouped(options.recipes) or _ladder(teacher, convolutions)
    recipes = [recipe if isinstance(recipe, Recipe) else load_recipe(recipe) for recipe in named if recipe not in LINEAR]
    _check_names([recipe.name for recipe in recipes])
    options.check()
    common = Common.of(teacher, splits)
    plans = (_plan(recipe, teacher, common, options, convolutions) for recipe in recipes)
    candidates = tuple(replace(plan, parent=parent_of(plan.recipe, recipes)) for plan in plans)
    return Plans(candidates, teacher_key(common))


def _plan(recipe: Recipe, teacher: Teacher, common: Common, options: Options, convolutions: float) -> CandidatePlan:
    _check_task(recipe, teacher.task)
    _check_convolutions(recipe, convolutions)
    reads = recipe.reads(teacher)
    try:
        student = recipe.student.plan(teacher)
    except UserError as error:
        error.where = f"{recipe.name}, {error.where}" if error.where else recipe.name
        raise
    steps = (*teacher.steps, *recipe.records())
    architecture = str(teacher.model.config.model_type) if student.architecture == SAME else student.architecture
    engines, refused = able_engines(options.engines, steps, architecture, teacher.task)
    return CandidatePlan(
        recipe=recipe,
        student=student,
        keys=recipe_keys(recipe, reads, common),
        steps=steps,
        asked=tuple(options.engines),
        engines=engines,
        refusal=refused,
    )


def _check_task(recipe: Recipe, task: TaskName) -> None:
    """Refuse a recipe with a step that models of this task cannot take."""
    images = task_of(task).reads == IMAGES
    if images and not recipe.student.images:
        found, expected = recipe.student.written, "layers-N, blocks-N, {from: folder} or no student"
        raise UserError("this student reads texts, not images", where=recipe.name, found=found, expected=expected)
    for number, step in enumerate(recipe.steps, 1):
        reason = step.why_not(task)
        if reason is not None:
            place = f"{recipe.name}, step {number}"
            raise UserError("this step is not for the task", where=place, found=f"{step.name} of {task}", expected=reason)


def _check_convolutions(recipe: Recipe, share: float) -> None:
    """Refuse a recipe with a step for matrices of a teacher with this share of its weights in convolutions, where it is made of them."""
    # students of other architectures are made of the same kind of layers
    for number, step in enumerate(recipe.steps, 1):
        if step.matrices_alone and share > _MADE_OF:
            raise UserError(
                "this step leaves convolutions as they are",
                where=f"{recipe.name}, step {number}",
                found=f"{share:.0%} of the teacher's weights are in convolutions",
                expected="a network of matrices, such as ViT",
                fix="choose int8-static, which quantizes convolutions too, or blocks-N, which leaves blocks out",
            )


def _ladder(teacher: Teacher, convolutions: float) -> list[str]:
    """Return the recipes that are tried when none is named, for a teacher with this share of its weights in convolutions."""
    if task_of(teacher.task).reads == IMAGES:
        depth = teacher.depth if hasattr(teacher.model.config, "num_attention_heads") else 0
        return image_ladder(depth, stage_depths(teacher) or (), matrices=convolutions <= _MADE_OF)
    return ladder(teacher.task, teacher.pairs, teacher.depth, int(teacher.model.config.hidden_size))


def _check_names(names: list[str]) -> None:
    folded = [name.casefold() for name in names]  # one folder on many systems
    duplicates = sorted({name for name in names if folded.count(name.casefold()) > 1})
    if duplicates:
        raise UserError(
            "two recipes have the same name", where="--recipe", found=", ".join(duplicates), fix="change 'name:' in one of them"
        )
    for name in names:
        if name.casefold() in _RESERVED or is_teacher(name.casefold()) or len(name) > _LONGEST:
            what = f"a name of more than {_LONGEST} letters" if len(name) > _LONGEST else "a name that the output folder needs"
            raise UserError(f"a recipe cannot have {what}", where="--recipe", found=name, fix="write it to a file and change its 'name:'")
