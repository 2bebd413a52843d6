"""The key of finished work: a hash of all that it depends on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imbik.content import content
from imbik.methods import make_method, settings_of
from imbik.types import Checkpoint, Recipe, Splits, Step
from imbik.workspace import key_of


def recipe_key(recipe: Recipe, steps: int | None, teacher: Checkpoint, teacher_key: str, splits: Splits) -> str:
    """Of the first ``steps`` steps of ``recipe`` (None: all) for one teacher and its data.

    Files and folders that the recipe reads (a student ``{from: folder}``, a corpus, a general teacher) count by their content.

    Args:
        teacher_key: the teacher's :func:`imbik.checkpoint.fingerprint`.
    """
    chosen = recipe.steps[:steps]
    parts = {
        "teacher": teacher_key,
        "data": splits.fingerprint,
        "metric": splits.metric,  # the best epoch is the best in it
        "unlabelled": splits.unlabelled.fingerprint if splits.unlabelled else None,
        "student": recipe.student,
        "steps": [settled(step) for step in chosen],
        "seed": recipe.seed,
    }
    sources = [str(recipe.student["from"])] if isinstance(recipe.student, Mapping) and "from" in recipe.student else []
    for step in chosen:
        sources += getattr(make_method(step, recipe.name), "reads", _nothing)(teacher)
    found = {source: content(source) for source in sources}
    return key_of(parts | ({"read": found} if any(found.values()) else {}))


def settled(step: Step) -> Step:
    """The step with every setting written out, so that a changed default is a changed key."""
    made = make_method(step, "recipe")
    return {made.name: settings_of(made)}


def _nothing(_teacher: Any) -> list[str]:
    return []
