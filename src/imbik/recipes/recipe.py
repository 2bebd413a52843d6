"""Recipes: YAML <-> Recipe, validated. A shipped name may be built from its parts: ``layers-3+int8``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from imbik.errors import UserError
from imbik.types import Recipe

_FIELDS = {"name", "student", "steps", "seed"}
_ANY_DEPTH = {r"layers-\d+": "layers-3", r"distilbert-\d+l": "distilbert-6l"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice; YAML's own loader takes the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                raise yaml.constructor.ConstructorError(None, None, f"'{key}' stands there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def shipped() -> list[str]:
    """Names of the shipped parts, in the order of the alphabet."""
    folder = resources.files("imbik.recipes")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_recipe(source: str | Path) -> Recipe:
    """A recipe from a YAML file, or by name: a shipped part, or parts joined by ``+`` (``layers-1+int8``).

    Parts are joined in order: the first part with a student gives the student, the steps follow one another.

    Raises:
        UserError: no such file or name, broken YAML, unknown field, method or setting, an order that has no meaning.

    >>> load_recipe("layers-3+int8").student
    'layers-3'
    """
    path = Path(source)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        if not path.is_file():
            raise UserError("no such recipe file", where=source, fix="check the path, or list the names with: imbik recipes")
        return parse_recipe(_read(path), str(source), default_name=path.stem)
    return _by_name(str(source))


def parse_recipe(text: str, where: str, default_name: str = "recipe") -> Recipe:
    """A recipe from YAML text; ``where`` is named in messages.

    Raises:
        UserError: as :func:`load_recipe`.
    """
    try:
        data = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"{where}, line {mark.line + 1}" if mark else where
        raise UserError("not valid YAML", where=line, found=getattr(error, "problem", None) or "a syntax error") from None
    if not isinstance(data, dict):
        raise UserError("a recipe must be a mapping", where=where, found=type(data).__name__, expected="name, student, steps, seed")
    unknown = sorted(str(key) for key in set(data) - _FIELDS)
    if unknown:
        raise UserError("unknown field", where=where, found=", ".join(unknown), expected=", ".join(sorted(_FIELDS)))
    recipe = Recipe(
        name=_valid_name(data.get("name", default_name), where),
        steps=_steps(data.get("steps"), where),
        student=_student(data.get("student"), where),
        seed=_seed(data.get("seed", 0), where),
    )
    _check(recipe, where)
    return recipe


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as YAML to copy and edit; :func:`parse_recipe` reads it back equal.

    >>> recipe = load_recipe("layers-1+int8")
    >>> parse_recipe(dump_recipe(recipe), "text") == recipe
    True
    """
    data: dict[str, Any] = {"name": recipe.name}
    if recipe.student is not None:
        data["student"] = dict(recipe.student) if isinstance(recipe.student, Mapping) else recipe.student
    data["steps"] = [{name: dict(settings) for name, settings in step.items()} for step in recipe.steps]
    data["seed"] = recipe.seed
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def _by_name(name: str) -> Recipe:
    parts = [_part(part, name) for part in name.split("+")]
    students = [part for part in parts if part.student is not None]
    if len(students) > 1:
        raise UserError("a recipe has one student", where=name, found=" and ".join(p.name for p in students))
    steps = tuple(step for part in parts for step in part.steps)
    recipe = Recipe(name, steps, students[0].student if students else None, parts[0].seed)
    _check(recipe, name)
    return recipe


def _part(name: str, whole: str) -> Recipe:
    folder = resources.files("imbik.recipes")
    family = next((template for pattern, template in _ANY_DEPTH.items() if re.fullmatch(pattern, name)), None)
    file = folder / f"{name}.yaml"
    if _NAME.fullmatch(name) and file.is_file():
        return parse_recipe(file.read_text(encoding="utf-8"), name)
    if family is not None:  # any depth: the same steps as the shipped one
        template = parse_recipe((folder / f"{family}.yaml").read_text(encoding="utf-8"), name)
        return Recipe(name, template.steps, name, template.seed)
    raise UserError(
        "no such recipe",
        where=whole if whole != name else None,
        found=repr(name),
        expected="a YAML file, or one of " + ", ".join(shipped()) + ", joined by +",
        fix="imbik recipes lists them with what they do",
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError("not UTF-8 text", where=path, expected="a YAML file in UTF-8") from None


def _valid_name(name: Any, where: str) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UserError(
            "the name cannot be a folder's name", where=f"{where}, name", found=name, expected="letters, digits, '.', '_', '-', '+'"
        )
    return name


def _steps(steps: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(steps, list):
        raise UserError("steps must be a list", where=f"{where}, steps", found=steps, expected="- method: {setting: value}")
    return tuple({name: dict(settings or {}) for name, settings in step.items()} if _is_step(step) else step for step in steps)


def _is_step(step: Any) -> bool:
    return isinstance(step, dict) and all(settings is None or isinstance(settings, dict) for settings in step.values())


def _student(student: Any, where: str) -> str | Mapping[str, Any] | None:
    if student is not None and not isinstance(student, str | dict):
        raise UserError("student must be a name or a mapping", where=f"{where}, student", found=student)
    return student


def _seed(seed: Any, where: str) -> int:
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise UserError("seed must be a whole number, zero or more", where=f"{where}, seed", found=seed)
    return seed


def _check(recipe: Recipe, where: str) -> None:
    from imbik.methods.registry import check_order  # needs torch: listing the recipes does not

    check_order(recipe.steps, where)
