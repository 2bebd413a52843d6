"""The key of finished work: a hash of all that it depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imbik.data.documents import TEXT_FORMATS
from imbik.data.formats.csv import FORMATS
from imbik.data.formats.text import bare_suffix
from imbik.errors import UserError
from imbik.jobs.fingerprints import content, key_of
from imbik.jobs.paths import with_home
from imbik.models.teacher import Teacher
from imbik.recipes.recipe import Recipe
from imbik.types import Splits


@dataclass(frozen=True)
class Common:
    """What all finished work of a run depends on.

    Attributes:
        teacher: its fingerprint.
        data: fingerprint of train, dev and test.
        metric: the best epoch is the best in it.
        unlabelled: fingerprint of the user's own texts, if any.
        base: what the teacher was fine-tuned from, if that is known.
    """

    teacher: str
    data: str
    metric: str
    unlabelled: str | None
    base: str | None

    @classmethod
    def of(cls, teacher: Teacher, splits: Splits) -> Common:
        """Return what a teacher and its data are known by."""
        own = splits.unlabelled.fingerprint if splits.unlabelled else None
        base = getattr(teacher.model.config, "imbik_base", None)
        return cls(teacher.fingerprint, splits.fingerprint, splits.metric, own, base)


def recipe_keys(recipe: Recipe, reads: Sequence[Sequence[str]], common: Common) -> tuple[str, ...]:
    """Compute the keys of a recipe for one teacher and its data: of its student, then after its first step, its second, and so on.

    Files and folders that the recipe reads (a student ``{from: folder}``, a corpus, a general teacher) count by their content.

    Args:
        recipe: the recipe.
        reads: what it reads, :meth:`imbik.recipes.recipe.Recipe.reads`.
        common: of teacher and data.

    Raises:
        UserError: a file or folder that does not exist; what may be a hub name passes.
    """
    for source in (source for part in reads for source in part):
        _check_source(source, recipe.name, common.base)
    records = recipe.records()
    keys = []
    for count in range(len(records) + 1):
        # those of the steps so far: a corpus that only step 3 reads leaves steps 1 and 2 as they
        # are
        sources = {source: content(source) for part in reads[: count + 1] for source in part}
        keys.append(_key(common, recipe.student.written, list(records[:count]), recipe.seed, sources))
    return tuple(keys)


def teacher_key(common: Common) -> str:
    """Compute the key of the teacher as it is: what a recipe without a student and without steps would have."""
    return _key(common, None, [], 0, {})


def _key(common: Common, student: object, steps: list[object], seed: int, sources: dict[str, str | None]) -> str:
    parts: dict[str, object] = {
        "teacher": common.teacher,
        "data": common.data,
        "metric": common.metric,
        "unlabelled": common.unlabelled,
        "student": student,
        "steps": steps,
        "seed": seed,
    }
    # a hub name has no content that could be hashed (None), so alone it adds nothing to the key
    return key_of(parts | ({"read": sources} if any(sources.values()) else {}))


def _check_source(source: str, recipe: str, base: str | None) -> None:
    """Refuse a file that is not there, before anything is trained; ``base`` is what the teacher was fine-tuned from."""
    path = with_home(source)
    # owner/name may be a hub name, which only loading can tell
    local = path.is_absolute() or source.startswith(".") or source.endswith("/") or source.count("/") > 1
    if (local or bare_suffix(path) in (*TEXT_FORMATS, *FORMATS)) and not path.exists():
        gone = source == base
        raise UserError(
            "the model that the teacher was fine-tuned from is not where it was" if gone else "no such file or folder",
            where=recipe,
            found=source,
            fix="name its folder in the step: teacher: FOLDER" if gone else f"check the path (the working folder is {Path.cwd()})",
        )
