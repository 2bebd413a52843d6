"""Which recipe a quantized one comes from."""

from __future__ import annotations

from collections.abc import Iterable

from imbik.models.teacher import TEACHER
from imbik.recipes.recipe import Recipe


def is_teacher(name: str) -> bool:
    """Return whether a name of results is a teacher's, or that of several together."""
    before, _, number = name.partition("-")
    return name == TEACHER or (before == TEACHER and number.isdecimal())


def parent_of(recipe: Recipe, others: Iterable[Recipe]) -> str | None:
    """Return the name of the same recipe without its ``quantize`` step.

    ``teacher`` where nothing else is done to the teacher; None where the recipe does not quantize, or no other of the run is its parent.

    >>> from imbik.recipes.recipe import load_recipe
    >>> short, int8 = load_recipe("layers-1"), load_recipe("int8")
    >>> parent_of(load_recipe("layers-1+int8"), [short]), parent_of(int8, [short])
    ('layers-1', 'teacher')
    """
    if recipe.quantization is None:
        return None
    steps = recipe.steps[:-1]
    if not steps and recipe.student.written is None:
        return TEACHER
    # compared by value: the parent may stand anywhere in the call, under any name
    return next((other.name for other in others if other.steps == steps and other.student == recipe.student), None)
