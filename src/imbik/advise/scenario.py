"""Scenarios: shipped and user-written YAML files that say what a deployment asks for, read and checked."""

from __future__ import annotations

import difflib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from imbik.errors import UserError
from imbik.measure.quantities import QUANTITIES
from imbik.types import Scenario

_FOLDER = files("imbik.advise").joinpath("scenarios")
_LARGEST_SHARE = 10.0  # a candidate may take several times the teacher's CPU time; nothing sensible asks for ten times
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Requirement(_Strict):
    quantity: str
    at_least: Annotated[float, Field(allow_inf_nan=False)] | None = None
    at_most: Annotated[float, Field(allow_inf_nan=False)] | None = None
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    source: str = "user"

    @model_validator(mode="after")
    def _one_limit(self) -> _Requirement:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("give exactly one of at_least and at_most")
        return self


class _Preference(_Strict):
    quantity: str
    within: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class _Volume(_Strict):
    requests_per_day: _Positive | None = None
    peak_factor: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 4.0
    items_per_batch: _Positive | None = None
    window_hours: Annotated[float, Field(gt=0, le=24)] | None = None


class _Brief(_Strict):
    model: str
    family: str
    claims: list[dict[str, Any]] = []


class _File(_Strict):
    name: str
    title: dict[str, str] = {}
    about: dict[str, str] = {}
    target: Literal["gpu", "edge", "phone", "iot"] | None = None
    volume: _Volume = _Volume()
    requirements: Annotated[list[_Requirement], Field(min_length=1)]
    prefer: list[_Preference] = []
    brief: _Brief | None = None


def shipped_scenarios() -> tuple[str, ...]:
    """Names of the scenarios that come with imbik, cases last.

    >>> "bank-support" in shipped_scenarios()
    True
    """
    order = ("cloud-gpu", "edge", "mobile", "iot", "offline", "real-time")
    names = {entry.name.removesuffix(".yaml") for entry in _FOLDER.iterdir() if entry.name.endswith(".yaml")}
    return tuple(n for n in order if n in names) + tuple(sorted(names - set(order) - {"decision"}))


def load_scenario(name: str) -> Scenario:
    """A shipped scenario by name, or one from a YAML file.

    Raises:
        UserError: no such scenario or file, broken YAML, an unknown field or quantity, a requirement without
            exactly one limit.

    >>> load_scenario("bank-support").requirements[0]["quantity"]
    'retention'
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        try:
            text = path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            raise UserError("no such scenario file", where=path, fix=_offer()) from None
        return parse_scenario(_yaml(text, name), name)
    if name not in shipped_scenarios():
        close = difflib.get_close_matches(name, shipped_scenarios(), 1)
        raise UserError(
            "no such scenario",
            where="--scenario",
            found=name,
            expected=", ".join(shipped_scenarios()),
            fix=f"did you mean {close[0]}?" if close else "name one of these or a YAML file",
        )
    return parse_scenario(_yaml(_FOLDER.joinpath(f"{name}.yaml").read_text("utf-8"), name), name)


def parse_scenario(document: Any, where: str) -> Scenario:
    """A scenario from a parsed YAML mapping; ``where`` names it in messages.

    Raises:
        UserError: as :func:`load_scenario`.
    """
    try:
        file = _File.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(
            "scenario not valid",
            where=f"{where}, {place}" if place else where,
            found=repr(first["input"])[:80],
            expected=first["msg"].removeprefix("Value error, "),
            fix="copy a shipped scenario and edit it: imbik advise --show bank-support",
        ) from None
    for i, requirement in enumerate(file.requirements):
        _known(requirement.quantity, f"{where}, requirements.{i}.quantity")
        _share(requirement, f"{where}, requirements.{i}")
    for i, preference in enumerate(file.prefer):
        _known(preference.quantity, f"{where}, prefer.{i}.quantity")
    if any(r.quantity == "batch_hours" for r in file.requirements) and file.volume.items_per_batch is None:
        raise UserError("batch_hours needs the size of the batch", where=f"{where}, volume", fix="add volume: {items_per_batch: 200000}")
    return Scenario(
        name=file.name,
        requirements=tuple(r.model_dump() for r in file.requirements),
        volume=file.volume.model_dump(exclude_none=True),
        about={
            "title": file.title,
            "text": file.about,
            "target": file.target,
            "prefer": [p.model_dump() for p in file.prefer],
            "brief": file.brief.model_dump() if file.brief else None,
        },
    )


def shipped_text(name: str) -> str:
    """The YAML of a shipped scenario, comments and all, to copy and edit.

    Raises:
        UserError: no such scenario.
    """
    load_scenario(name)
    return _FOLDER.joinpath(f"{name}.yaml").read_text("utf-8")


def decision_document() -> dict[str, Any]:
    """The shipped tree of questions, parsed."""
    document: dict[str, Any] = yaml.safe_load(_FOLDER.joinpath("decision.yaml").read_text("utf-8"))
    return document


def _known(quantity: str, where: str) -> None:
    if quantity in QUANTITIES:
        return
    close = difflib.get_close_matches(quantity, QUANTITIES, 1)
    raise UserError(
        "unknown quantity",
        where=where,
        found=quantity,
        expected=", ".join(QUANTITIES),
        fix=f"did you mean {close[0]}?" if close else "name one of these",
    )


def _share(requirement: _Requirement, where: str) -> None:
    """A limit on a share that only makes sense as a percentage is one."""
    limit = requirement.at_least if requirement.at_least is not None else requirement.at_most
    if QUANTITIES[requirement.quantity].unit == "share" and requirement.quantity != "quality" and (limit or 0.0) > _LARGEST_SHARE:
        raise UserError(
            "a share is wanted, not a percentage",
            where=where,
            found=f"{requirement.quantity} {limit:g}",
            expected=f"{(limit or 0.0) / 100:g} for {limit:g} %",
        )


def _yaml(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}, line {mark.line + 1}" if mark else where
        raise UserError("not valid YAML", where=place, found=getattr(error, "problem", None)) from None


def _offer() -> str:
    return f"name a YAML file that exists, or one of {', '.join(shipped_scenarios())}"
