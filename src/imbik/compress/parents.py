"""Which recipe a quantized one comes from."""

from __future__ import annotations

from collections.abc import Iterable

from imbik.types import Recipe


def parent_of(recipe: Recipe, others: Iterable[Recipe]) -> str | None:
    """Return the name of the same recipe without its ``quantize`` step.

    ``teacher`` where nothing else is done to the teacher; None where the recipe does not quantize, or no other of the run is its parent.

    >>> int8 = {"quantize": {"scheme": "dynamic"}}
    >>> short = Recipe("short", ({"distill": {}},), "layers-1")
    >>> parent_of(Recipe("short+int8", (*short.steps, int8), "layers-1"), [short]), parent_of(Recipe("int8", (int8,)), [short])
    ('short', 'teacher')
    """
    steps = tuple(step for step in recipe.steps if "quantize" not in step)
    if len(steps) == len(recipe.steps):
        return None
    if not steps and recipe.student is None:
        return "teacher"
    return next((other.name for other in others if other.steps == steps and other.student == recipe.student), None)
