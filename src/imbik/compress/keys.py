"""The key of finished work: a hash of all that it depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imbik.data.documents import TEXT_FORMATS
from imbik.data.formats.csv import FORMATS
from imbik.errors import UserError
from imbik.jobs.fingerprints import content, key_of
from imbik.methods.registry import make_method, settled
from imbik.types import Checkpoint, Recipe, Splits, Step


def recipe_key(recipe: Recipe, steps: int | None, teacher: Checkpoint, teacher_key: str, splits: Splits) -> str:
    """Of the first ``steps`` steps of ``recipe`` (None: all) for one teacher and its data.

    Files and folders that the recipe reads (a student ``{from: folder}``, a corpus, a general teacher) count by their content.

    Args:
        teacher_key: the teacher's :func:`imbik.models.checkpoint.fingerprint`.
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
    found = {source: content(source) for source in _sources(recipe, chosen, teacher)}
    return key_of(parts | ({"read": found} if any(found.values()) else {}))


def check_sources(recipe: Recipe, teacher: Checkpoint) -> None:
    """Refuse a recipe whose files are not there, before anything is trained; what may be a hub name passes.

    Raises:
        UserError: a file or folder that does not exist.
    """
    for source in _sources(recipe, recipe.steps, teacher):
        path = Path(source).expanduser()
        local = path.is_absolute() or source.startswith(".") or source.endswith("/") or source.count("/") > 1
        if (local or path.suffix.lower() in (*TEXT_FORMATS, *FORMATS)) and not path.exists():
            base = source == getattr(teacher.model.config, "imbik_base", None)
            raise UserError(
                "the model that the teacher was fine-tuned from is not where it was" if base else "no such file or folder",
                where=recipe.name,
                found=source,
                fix="name its folder in the step: teacher: FOLDER" if base else f"check the path (the working folder is {Path.cwd()})",
            )


def _sources(recipe: Recipe, steps: Sequence[Step], teacher: Checkpoint) -> list[str]:
    """Files, folders and hub names that the student and these steps read."""
    sources = [str(recipe.student["from"])] if isinstance(recipe.student, Mapping) and "from" in recipe.student else []
    for step in steps:
        sources += getattr(make_method(step, recipe.name), "reads", _nothing)(teacher)
    return sources


def _nothing(_teacher: Any) -> list[str]:
    return []
