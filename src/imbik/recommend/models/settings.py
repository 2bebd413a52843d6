"""Settings of the models: their types, their limits, the names that they had before, and whether they suit the ratings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import ClassVar, Literal, Protocol, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from imbik.errors import UserError
from imbik.jobs.validated import Wording, validated
from imbik.recommend.data.ratings import Ratings

Setting = bool | int | float | str

RENAMED = {"neighbours": "neighbors"}
"""Old name of a setting -> its name now. Stored models, YAML, ``--set`` and constructors take both."""

AT_LEAST_ONE = ("epochs", "steps", "neighbors")

_WORDING = Wording(wrong="a setting has the wrong type")


class Configured(Protocol):
    """A dataclass whose fields are the settings of a model."""

    name: ClassVar[str]
    feedback: ClassVar[str]
    reads_events: ClassVar[bool]
    continues: ClassVar[bool]

    @property
    def settings(self) -> dict[str, Setting]:
        """The settings as plain values."""


M = TypeVar("M", bound=Configured)


def renamed_settings(cls: type[M]) -> type[M]:
    """Class decorator: let the constructor and attributes of a dataclass answer to the old names of ``RENAMED`` as well."""
    build: Callable[..., None] = cls.__init__

    def construct(self: Configured, *values: object, **settings: object) -> None:
        build(self, *values, **current_names(settings))

    construct.__doc__ = build.__doc__
    setattr(cls, "__init__", construct)  # noqa: B010 - mypy forbids the plain assignment
    for old, new in RENAMED.items():
        if new in setting_names(cls):
            setattr(cls, old, property(attrgetter(new)))
    return cls


def current_names(settings: Mapping[str, object]) -> dict[str, object]:
    """Return the settings under the names that they have now.

    >>> current_names({"neighbours": 10, "shrink": 2.0})
    {'neighbors': 10, 'shrink': 2.0}
    """
    return {RENAMED.get(name, name): value for name, value in settings.items()}


def setting_names(cls: type[Configured]) -> list[str]:
    """Return the names of a model's settings."""
    return [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]


def make_model(cls: type[M], settings: Mapping[str, object]) -> M:
    """Make a model out of settings as text or numbers; a text becomes the type of its field.

    Raises:
        UserError: an unknown setting, a value of the wrong type or outside the choices of the setting.
    """
    values = current_names(settings)
    known = setting_names(cls)
    for name in values:
        if name not in known:
            raise UserError(f"the {cls.name} model has no such setting", found=name, expected=", ".join(known))
    hints = get_type_hints(cls)
    for name, value in values.items():
        choices = get_args(hints[name])
        if get_origin(hints[name]) is Literal and value not in choices:
            raise UserError(f"unknown {name}", where=f"{cls.name}.{name}", found=repr(value), expected=", ".join(choices))
    return validated(cls, values, cls.name, _WORDING)


def check_settings(model: Configured, ratings: Ratings) -> None:
    """Check that settings are in their range, and that a model with them can learn from these ratings.

    Raises:
        UserError: naming the setting, or what is wrong with the ratings.
    """
    if len(ratings) < 2:
        raise UserError("one rating is not enough to learn from", found=len(ratings), expected="at least 2 ratings")
    if model.feedback == "implicit" and (ratings.values <= 0).any():
        raise UserError(
            f"{model.name} learns from events, which have positive counts",
            found=f"{ratings.values.min():g}",
            expected="counts above 0",
            fix="choose a model of ratings, such as pmf",
        )
    enough = model.feedback == "implicit" or (ratings.implicit and model.reads_events)
    if not enough and np.ptp(ratings.values) == 0:
        raise UserError(
            "all ratings are equal: there is nothing to learn",
            found=f"{len(ratings)} times {ratings.values[0]:g}",
            expected="at least two different ratings",
            fix="for events, use --model logistic or als (with --implicit)",
        )
    rank = getattr(model, "rank", 1)
    if not 1 <= rank <= min(ratings.shape):
        raise UserError(
            "the rank does not fit the matrix",
            found=f"rank {rank}",
            expected=f"1 to {min(ratings.shape)} ({ratings.shape[0]} users, {ratings.shape[1]} items)",
            fix="set it with --rank",
        )
    check_limits(model)


def check_start(model: Configured, start: Configured) -> None:
    """Check that a model can be continued from another one.

    Raises:
        UserError: it is solved in one go, or the other is of another kind.
    """
    if not model.continues:
        raise UserError(f"{model.name} is solved in one go and cannot continue a model", fix="leave out --continue")
    if type(start) is not type(model):
        raise UserError(
            "a model can only be continued by its own kind", found=start.name, expected=model.name, fix="choose the same --model"
        )


def check_limits(model: Configured) -> None:
    """Check that every number among the settings is finite and not below its least value.

    Raises:
        UserError: naming the setting.
    """
    for name, value in model.settings.items():
        least = 1 if name in AT_LEAST_ONE else 0
        if isinstance(value, (int, float)) and not isinstance(value, bool) and not least <= value < np.inf:
            raise UserError("a setting is out of range", where=f"{model.name}.{name}", found=value, expected=f">= {least}")
