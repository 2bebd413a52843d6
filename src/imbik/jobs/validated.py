"""YAML and pydantic models for what users write: their errors become one :class:`imbik.errors.UserError`, here and nowhere else."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from inspect import get_annotations
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from imbik.errors import UserError
from imbik.jobs.reading import damage_told, read_text

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

T = TypeVar("T")
Location = Sequence[int | str]
"""Where in a document: ``("instances", 0, "hourly")``."""

_LONGEST = 80  # letters of a value that a message shows
_BRANCH = re.compile(r"(constrained|function)-.*|(literal|tuple|list|dict)\[.*\]|int|float|str|bool|none")
_PLAIN = {"a valid tuple": "a list", "a valid integer": "a whole number", "a valid ": "a "}


class _Loader(yaml.SafeLoader):
    """A loader that refuses a duplicate key; YAML's own takes the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key '{key}'", node.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(path: str | Path, what: str = "file", fix: str | None = None) -> object:
    """Read a YAML file in UTF-8.

    Args:
        path: the file.
        what: what messages call it: ``recipe file``, ``price list``.
        fix: what to do where there is no such file.

    Raises:
        UserError: no such file, not UTF-8, not valid YAML, a duplicate key.
    """
    return parse_yaml(read_text(Path(path), what, fix=fix or "check the path"), path)


def parse_yaml(text: str, where: object) -> object:
    """Parse YAML text.

    Args:
        text: one document.
        where: names it in messages; the line of a mistake is added.

    Raises:
        UserError: not valid YAML, or a duplicate key.

    >>> parse_yaml("name: mine\\nname: yours", "mine.yaml")
    Traceback (most recent call last):
    imbik.errors.UserError: mine.yaml, line 1: not valid YAML. Found: duplicate key 'name'.
    """
    try:
        # a value such as 2020-99-99, or brackets without end, breaks the parser itself
        with damage_told("not valid YAML", where):
            return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"{where}, line {mark.line + 1}" if mark else where
        raise UserError("not valid YAML", where=line, found=getattr(error, "problem", None) or "a syntax error") from None


def dotted(location: Location) -> str:
    """Return a location as ``instances.0.hourly``.

    >>> dotted(("instances", 0, "hourly"))
    'instances.0.hourly'
    """
    return ".".join(str(part) for part in location)


def bracketed(location: Location) -> str:
    """Return a location as ``measurements[0].quality``.

    >>> bracketed(("measurements", 0, "quality"))
    'measurements[0].quality'
    """
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")


@dataclass(frozen=True)
class Wording:
    """How mistakes in one kind of document are told.

    Attributes:
        wrong: the problem of a value that the model refuses.
        missing: the problem of a field that is not there.
        unknown: the problem of a field that the model does not have.
        fix: what to do about any of them.
        mapping: what a mapping is called: ``a JSON object``.
        place: writes a location, see :func:`dotted` and :func:`bracketed`; a document may add a row's name to it.
    """

    wrong: str = "wrong value"
    missing: str = "field missing"
    unknown: str = "unknown field"
    fix: str | None = None
    mapping: str = "a mapping"
    place: Callable[[Location], str] = dotted


def validated(model: type[T], values: object, where: object, wording: Wording | None = None) -> T:
    """Make an object of a pydantic model or dataclass out of parsed values; report the first mistake.

    Args:
        model: the class.
        values: mappings, lists and scalars as YAML or JSON gives them.
        where: names the document in messages; the field's place is added behind a comma.
        wording: see :class:`Wording`.

    Raises:
        UserError: a field is missing, unknown or of the wrong kind.

    >>> from pydantic import BaseModel
    >>> class Box(BaseModel):
    ...     width: int
    >>> validated(Box, {"width": "wide"}, "box.yaml")
    Traceback (most recent call last):
    imbik.errors.UserError: box.yaml, width: wrong value. Found: 'wide'. Expected: a whole number, unable to parse string as an integer.
    """
    try:
        return TypeAdapter(model).validate_python(values)
    except ValidationError as error:
        raise _mistake(error, model, where, wording or Wording()) from None


def field_names(model: type) -> list[str]:
    """Return the names of a class's fields: first those that it declares itself, then those that it inherits."""
    names = [field.name for field in fields(model)] if is_dataclass(model) else list(getattr(model, "model_fields", ()))
    own = [name for name in get_annotations(model) if name in names]
    return list(dict.fromkeys([*own, *names]))


def _mistake(error: ValidationError, model: type, where: object, wording: Wording) -> UserError:
    """Return the first finding as a message; the branches of a union are told together."""
    first = error.errors()[0]
    location = tuple(first["loc"])
    kind = first["type"]
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        known = field_names(model) if len(location) == 1 else []
        close = difflib.get_close_matches(str(location[-1]), known, 1)
        fix = f"did you mean {close[0]}?" if close else wording.fix
        return UserError(wording.unknown, where=_at(where, location, wording), expected=", ".join(known) or None, fix=fix)
    if kind in ("missing", "missing_argument"):
        return UserError(wording.missing, where=_at(where, location, wording), fix=wording.fix)
    prefix = _before_branch(location)
    branches = [entry for entry in error.errors() if _before_branch(entry["loc"]) == prefix] if len(prefix) < len(location) else [first]
    whole = next((entry for entry in branches if len(entry["loc"]) == len(prefix) + 1), first)
    expected = " or ".join(dict.fromkeys(_expected(entry, wording) for entry in branches))
    found = repr(whole["input"])[:_LONGEST]
    return UserError(wording.wrong, where=_at(where, prefix, wording), found=found, expected=expected, fix=wording.fix)


def _before_branch(location: Location) -> Location:
    """Return a location up to the branch of a union that pydantic writes into it: ``("layers", "literal['top']")`` is in ``layers``."""
    return next((location[:at] for at, part in enumerate(location) if isinstance(part, str) and _BRANCH.fullmatch(part)), location)


def _expected(entry: ErrorDetails, wording: Wording) -> str:
    """Return what pydantic expected, in words that a YAML author knows."""
    if entry["type"] in ("model_type", "dataclass_type", "dict_type"):
        return wording.mapping
    text = entry["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    for technical, plain in _PLAIN.items():
        text = text.replace(technical, plain)
    return text


def _at(where: object, location: Location, wording: Wording) -> object:
    """Return the document's name with the place behind it."""
    place = wording.place(location)
    return f"{where}, {place}" if place else where
