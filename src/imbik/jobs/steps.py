"""Steps as users write them, ``{name: {setting: value}}``: a frozen dataclass for each, whose fields are its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from imbik.errors import UserError
from imbik.jobs.validated import Wording, dotted, validated

T = TypeVar("T")
_NO_SWITCH = (int, float, str, type(None), Ellipsis)
_WORDING = Wording(wrong="wrong setting", missing="setting missing", unknown="unknown setting")


def settings_class(cls: type) -> Any:
    """Return a class as a frozen, validated dataclass: unknown or ill-typed settings are refused."""
    # extra="forbid": a misspelt setting must not fall back to a default in silence;
    # strict=False: YAML writes 3 where a float is meant
    return dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=False))(cls)


def with_settings(cls: type[T], name: str, settings: object, where: str) -> T:
    """Make a step from its settings.

    Args:
        cls: of the step.
        name: what users call it.
        settings: a mapping; None stands for an empty one.
        where: names the step in messages.

    Raises:
        UserError: an unknown or ill-typed setting.
    """
    given = {} if settings is None else settings
    if not isinstance(given, Mapping):
        raise UserError("the settings of a step must be a mapping", where=f"{where}, {name}", found=given)
    _refuse_switches(cls, name, given, where)
    return validated(cls, dict(given), where, replace(_WORDING, place=lambda location: dotted((name, *location))))


def _refuse_switches(cls: type, name: str, given: Mapping[str, object], where: str) -> None:
    """Refuse ``yes`` where a number belongs: to pydantic, as to Python, it is 1."""
    hints = get_type_hints(cls)
    for setting, value in given.items():
        values = value if isinstance(value, list | tuple) else (value,)
        if any(isinstance(one, bool) for one in values) and setting in hints and not _takes_switches(hints[setting]):
            expected = "a number or a name; yes, no, true and false are neither"
            raise UserError(_WORDING.wrong, where=f"{where}, {dotted((name, setting))}", found=value, expected=expected)


def _takes_switches(hint: object) -> bool:
    """Return whether a value of this type may be true or false; of a class of its own, that is for the class to say."""
    parts = get_args(hint)
    if get_origin(hint) is Literal:
        return any(isinstance(part, bool) for part in parts)
    return any(map(_takes_switches, parts)) if parts else hint not in _NO_SWITCH


def name_and_settings(step: object, where: str, form: str) -> tuple[str, object]:
    """Return the one name that a step has, and what stands behind it.

    Args:
        step: what was written.
        where: names the step in messages.
        form: how it should be written.

    Raises:
        UserError: no mapping of one name.

    >>> name_and_settings({"prune": {"amount": 0.5}}, "step 1", "{name: settings}")
    ('prune', {'amount': 0.5})
    """
    if not isinstance(step, Mapping) or len(step) != 1:
        raise UserError("a step must name one method", where=where, found=step, expected=form)
    ((name, settings),) = step.items()
    return name, settings
