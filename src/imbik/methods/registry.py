"""The registry of methods and the order in which they may follow one another."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import fields
from inspect import get_annotations
from typing import Any, ClassVar, Protocol, TypeVar

from pydantic import ConfigDict, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass

from imbik.errors import UserError
from imbik.types import Checkpoint, Step


class Method(Protocol):
    """A frozen dataclass whose fields are its settings; ``apply`` is the whole interface, same type in and out."""

    name: ClassVar[str]

    def apply(self, checkpoint: Checkpoint, context: Any) -> Checkpoint:
        """The changed checkpoint. May change ``checkpoint.model`` in place (compress hands over a copy), never the teacher."""


_METHODS: dict[str, type[Any]] = {}


_Class = TypeVar("_Class", bound=type)


def method(name: str) -> Callable[[_Class], _Class]:
    """Register a class under ``name`` and make it a frozen, validated dataclass: unknown or ill-typed settings are refused."""

    def register(cls: _Class) -> _Class:
        made = pydantic_dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=False))(cls)
        made.name = name  # type: ignore[attr-defined]
        _METHODS[name] = made
        return made  # type: ignore[return-value]

    return register


def registered() -> dict[str, type[Any]]:
    """Return all methods by name: every module of this package is imported once, so that its methods register themselves."""
    package = importlib.import_module("imbik.methods")
    for found in pkgutil.iter_modules(package.__path__, "imbik.methods."):
        importlib.import_module(found.name)
    return dict(_METHODS)


def make_method(step: Step, where: str) -> Any:
    """The method object that one recipe step describes.

    Raises:
        UserError: unknown method, unknown or ill-typed setting.
    """
    if not isinstance(step, dict) or len(step) != 1:
        raise UserError("a step must name one method", where=where, found=step, expected="method: {setting: value, …}")
    ((name, settings),) = step.items()
    methods = registered()
    if name not in methods:
        raise UserError("unknown method", where=where, found=name, expected="one of " + ", ".join(sorted(methods)))
    if settings is None:
        settings = {}
    if not isinstance(settings, dict):
        raise UserError("the settings of a step must be a mapping", where=f"{where}, {name}", found=settings)
    try:
        return methods[name](**settings)
    except ValidationError as error:
        first = error.errors()[0]
        field, *_ = (*map(str, first["loc"]), "")
        said = [entry["msg"] for entry in error.errors() if entry["loc"][:1] == first["loc"][:1]]
        known = ", ".join(_settings(methods[name]))
        if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            raise UserError("unknown setting", where=f"{where}, {name}", found=field, expected=known) from None
        place = f"{where}, {name}.{field}" if field else f"{where}, {name}"
        expected = " or ".join(dict.fromkeys(part.removeprefix("Value error, ").removeprefix("Input should be ") for part in said))
        expected = expected.replace("a valid tuple", "a list")
        raise UserError("wrong setting", where=place, found=settings.get(field, settings), expected=expected) from None


def settings_of(made: Any) -> dict[str, Any]:
    """Every setting of a method object, defaults included; class variables are none.

    >>> settings_of(make_method({"quantize": {}}, "recipe"))["scheme"]
    'dynamic'
    """
    return {name: getattr(made, name) for name in _settings(type(made))}


def _settings(cls: type[Any]) -> list[str]:
    """Names of a method's settings: first those that the class itself declares, then those that it inherits."""
    names = {entry.name: None for entry in fields(cls)}
    own = [name for name in get_annotations(cls) if name in names]
    return list(dict.fromkeys(own) | names)


def check_order(steps: tuple[Step, ...], where: str) -> None:
    """Refuse an order of methods that has no meaning.

    A method declares it with ``refuse_before(later)`` or ``refuse_after(earlier)``, which give a reason or None.

    Raises:
        UserError: with the declared reason.
    """
    done: list[Any] = []
    for number, step in enumerate(steps, 1):
        made = make_method(step, f"{where}, step {number}")
        for earlier in done:
            reason = getattr(earlier, "refuse_before", _never)(made) or getattr(made, "refuse_after", _never)(earlier)
            if reason:
                raise UserError(
                    "these steps cannot follow one another",
                    where=f"{where}, step {number}",
                    found=f"{made.name} after {earlier.name}",
                    expected=reason,
                )
        done.append(made)


def _never(_other: Any) -> str | None:
    return None


def settled(step: Step) -> Step:
    """The step with every setting written out, so that a changed default is a changed key."""
    made = make_method(step, "recipe")
    return {made.name: settings_of(made)}
