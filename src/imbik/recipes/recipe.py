"""Recipes: YAML <-> Recipe, validated. A shipped name may be built from its parts: ``layers-3+int8``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from imbik.errors import UserError
from imbik.jobs.paths import with_home
from imbik.jobs.validated import parse_yaml, read_yaml
from imbik.methods.registry import Method, check_order, make_methods
from imbik.types import Step

if TYPE_CHECKING:
    from imbik.models.teacher import Teacher
    from imbik.students.spec import StudentSpec

_FIELDS = {"name", "student", "steps", "seed"}
_ANY_NUMBER = {
    r"layers-\d+": "layers-3",
    r"distilbert-\d+l": "distilbert-6l",
    r"bag-\d+": "bag",
    r"conv-\d+": "conv",
    r"lstm-\d+": "lstm",
    r"mini-\d+x\d+": "mini-2x192",
    r"blocks-\d+": "blocks-1",
    r"bag-\d+-augmented": "bag-augmented",
    r"conv-\d+-augmented": "conv-augmented",
    r"mini-\d+x\d+-augmented": "mini-2x192-augmented",
}
"""Names with numbers of one's own (layers, the width of piece vectors or of hidden states) -> the shipped recipe that has their steps."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True)
class Recipe:
    """A named list of steps, read and checked.

    Attributes:
        name: also the candidate's folder.
        steps: the methods in their order.
        student: what they are applied to.
        seed: of everything random.
    """

    name: str
    steps: tuple[Method, ...]
    student: StudentSpec
    seed: int = 0

    @property
    def quantization(self) -> Method | None:
        """The last step where it quantizes; None: the model stays in float."""
        return self.steps[-1] if self.steps and self.steps[-1].quantizes else None

    def records(self) -> tuple[Step, ...]:
        """Return what a checkpoint records of the steps, see :meth:`imbik.methods.registry.Method.record`."""
        return tuple(step.record() for step in self.steps)

    def written(self) -> dict[str, Any]:
        """Return student, steps and seed in their author's words, as YAML gives them."""
        student = self.student.written
        return {
            "student": dict(student) if isinstance(student, Mapping) else student,
            "steps": [dict(step.written()) for step in self.steps],
            "seed": self.seed,
        }

    def reads(self, teacher: Teacher) -> list[list[str]]:
        """Return the files, folders and hub names that are read: by the student, by the first step, by the second, and so on."""
        return [self.student.reads(), *(step.reads(teacher) for step in self.steps)]


def shipped() -> list[str]:
    """Return the names of the shipped parts, in the order of the alphabet."""
    folder = resources.files("imbik.recipes")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_recipe(source: str | Path) -> Recipe:
    """Load a recipe from a YAML file, or by name: a shipped part, or parts joined by ``+`` (``layers-1+int8``).

    Parts are joined in order: the first part with a student gives the student, the steps follow one another.

    Raises:
        UserError: no such file or name, broken YAML, unknown field, student, method or setting, an order that has no meaning.

    >>> load_recipe("layers-3+int8").student.written
    'layers-3'
    """
    path = with_home(source)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        document = read_yaml(path, "recipe file", fix="check the path, or list the names with: imbik recipes")
        return _read(document, str(source), default_name=path.stem)
    return _by_name(str(source))


def parse_recipe(text: str, where: str, default_name: str = "recipe") -> Recipe:
    """Parse a recipe from YAML text; ``where`` is named in messages.

    Raises:
        UserError: as :func:`load_recipe`.
    """
    return _read(parse_yaml(text, where), where, default_name)


def dump_recipe(recipe: Recipe) -> str:
    """Return the recipe as YAML to copy and edit; :func:`parse_recipe` reads it back equal.

    >>> recipe = load_recipe("layers-1+int8")
    >>> parse_recipe(dump_recipe(recipe), "text") == recipe
    True
    """
    written = {"name": recipe.name} | recipe.written()
    if written["student"] is None:
        del written["student"]
    return yaml.safe_dump(written, sort_keys=False, allow_unicode=True)


def _read(document: object, where: str, default_name: str) -> Recipe:
    """Return the recipe of a parsed document: the one place where mappings become methods and a student."""
    if not isinstance(document, dict):
        raise UserError("a recipe must be a mapping", where=where, found=type(document).__name__, expected="name, student, steps, seed")
    unknown = sorted(str(key) for key in set(document) - _FIELDS)
    if unknown:
        raise UserError("unknown field", where=where, found=", ".join(unknown), expected=", ".join(sorted(_FIELDS)))
    given = {"name": default_name, "student": None, "steps": None, "seed": 0} | document
    return Recipe(
        name=_valid_name(given["name"], where),
        student=_student(given["student"], where),
        steps=_steps(given["steps"], where),
        seed=_seed(given["seed"], where),
    )


def _by_name(name: str) -> Recipe:
    parts = [_part(part, name) for part in name.split("+")]
    students = [part for part in parts if part.student.written is not None]
    if len(students) > 1:
        raise UserError("a recipe has one student", where=name, found=" and ".join(p.name for p in students))
    steps = tuple(step for part in parts for step in part.steps)
    check_order(steps, name)
    return Recipe(name, steps, (students or parts)[0].student, parts[0].seed)


def _part(name: str, whole: str) -> Recipe:
    folder = resources.files("imbik.recipes")
    family = next((template for pattern, template in _ANY_NUMBER.items() if re.fullmatch(pattern, name)), None)
    file = folder / f"{name}.yaml"
    if _NAME.fullmatch(name) and file.is_file():
        return parse_recipe(file.read_text(encoding="utf-8"), name)
    if family is not None:  # any number: the same steps as the shipped one
        template = parse_recipe((folder / f"{family}.yaml").read_text(encoding="utf-8"), name)
        return Recipe(name, template.steps, _student(name.removesuffix("-augmented"), name), template.seed)
    close = difflib.get_close_matches(name, shipped(), 1)
    raise UserError(
        "no such recipe",
        where=whole if whole != name else None,
        found=repr(name),
        expected="a YAML file, or one of " + ", ".join(shipped()) + ", joined by +",
        fix=f"did you mean {close[0]}?" if close else "imbik recipes lists them with what they do",
    )


def _valid_name(name: object, where: str) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UserError(
            "the name cannot be a folder's name", where=f"{where}, name", found=name, expected="letters, digits, '.', '_', '-', '+'"
        )
    return name


def _steps(steps: object, where: str) -> tuple[Method, ...]:
    if not isinstance(steps, list):
        raise UserError("steps must be a list", where=f"{where}, steps", found=steps, expected="- method: {setting: value}")
    return make_methods(steps, where)


def _student(written: object, where: str) -> StudentSpec:
    from imbik.students.catalogue import parse_student  # needs torch: listing the names does not

    if written is not None and not isinstance(written, str | dict):
        raise UserError("student must be a name or a mapping", where=f"{where}, student", found=written)
    try:
        return parse_student(written)
    except UserError as error:
        error.where = f"{where}, {error.where}"
        raise


def _seed(seed: object, where: str) -> int:
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise UserError("seed must be a whole number, zero or more", where=f"{where}, seed", found=seed)
    return seed
