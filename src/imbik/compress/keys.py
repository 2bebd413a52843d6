"""The key of finished work: a hash of all that it depends on."""

from __future__ import annotations

from pathlib import Path

from imbik.data.documents import TEXT_FORMATS
from imbik.data.formats.csv import FORMATS
from imbik.errors import UserError
from imbik.jobs.fingerprints import content, key_of
from imbik.models.teacher import Teacher
from imbik.recipes.recipe import Recipe
from imbik.types import Splits


def recipe_key(recipe: Recipe, steps: int | None, teacher: Teacher, splits: Splits) -> str:
    """Compute the key of the first ``steps`` steps of ``recipe`` (None: all) for one teacher and its data.

    Files and folders that the recipe reads (a student ``{from: folder}``, a corpus, a general teacher) count by their content.
    """
    sources = {source: content(source) for source in recipe.reads(teacher, steps)}
    return _key(teacher, splits, recipe.student.written, list(recipe.records()[:steps]), recipe.seed, sources)


def teacher_key(teacher: Teacher, splits: Splits) -> str:
    """Compute the key of the teacher as it is: what a recipe without a student and without steps would have."""
    return _key(teacher, splits, None, [], 0, {})


def _key(teacher: Teacher, splits: Splits, student: object, steps: list[object], seed: int, sources: dict[str, str | None]) -> str:
    parts: dict[str, object] = {
        "teacher": teacher.fingerprint,
        "data": splits.fingerprint,
        "metric": splits.metric,  # the best epoch is the best in it
        "unlabelled": splits.unlabelled.fingerprint if splits.unlabelled else None,
        "student": student,
        "steps": steps,
        "seed": seed,
    }
    return key_of(parts | ({"read": sources} if any(sources.values()) else {}))


def check_sources(recipe: Recipe, teacher: Teacher) -> None:
    """Refuse a recipe whose files are not there, before anything is trained; what may be a hub name passes.

    Raises:
        UserError: a file or folder that does not exist.
    """
    for source in recipe.reads(teacher):
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
