"""Steps as users write them, ``{name: {setting: value}}``: a frozen dataclass for each, whose fields are its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from imbik.errors import UserError
from imbik.jobs.validated import Wording, dotted, validated

T = TypeVar("T")
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
    return validated(cls, dict(given), where, replace(_WORDING, place=lambda location: dotted((name, *location))))


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
