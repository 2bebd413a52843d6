"""Scenarios: shipped and user-written YAML files that say what a deployment asks for, read and checked."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import field
from importlib.resources import files
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from imbik.advise.requirement import Requirement, check_quantity, check_requirement
from imbik.errors import UserError
from imbik.jobs.paths import with_home
from imbik.jobs.validated import Wording, parse_yaml, read_yaml, validated

_FOLDER = files("imbik.advise").joinpath("scenarios")
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


_STRICT = ConfigDict(extra="forbid")
_KEYS = {"about": "text", "brief": "study"}  # key of a file -> field here; files written for imbik 0.1 say brief


@dataclass(frozen=True, config=_STRICT)
class Preference:
    """A quantity that decides among candidates with the same verdict; those ``within`` a share of the best stay equal."""

    quantity: str
    within: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


@dataclass(frozen=True, config=_STRICT)
class Volume:
    """How much there is to do."""

    requests_per_day: _Positive | None = None
    peak_factor: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 4.0
    items_per_batch: _Positive | None = None
    window_hours: Annotated[float, Field(gt=0, le=24)] | None = None


@dataclass(frozen=True, config=_STRICT)
class Claim:
    """A figure that the study states of a model."""

    model: str
    family: str
    quantity: str
    value: float


@dataclass(frozen=True, config=_STRICT)
class StudyChoice:
    """The model that the study chose for a case, and the family of candidates that stands for it here."""

    model: str
    family: str
    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True, config=_STRICT)
class Scenario:
    """Where a model must run, and what is asked of it there.

    Attributes:
        name: tells it from others; not empty.
        title, text: by language.
        target: the device, where it is not a machine like this one.
        prefer: what decides among those that fit, one after the other.
        study: what the study of DistilBERT, MobileBERT and TinyBERT chose for this case.
    """

    name: Annotated[str, Field(min_length=1)]
    requirements: Annotated[tuple[Requirement, ...], Field(min_length=1)]
    title: dict[str, str] = field(default_factory=dict)
    text: dict[str, str] = field(default_factory=dict)
    target: Literal["gpu", "edge", "phone", "iot"] | None = None
    volume: Volume = Volume()
    prefer: tuple[Preference, ...] = ()
    study: StudyChoice | None = None


_WORDING = Wording(wrong="scenario not valid", fix="copy a shipped scenario and edit it: imbik advise --show bank-support")


def shipped_scenarios() -> tuple[str, ...]:
    """Return the names of the scenarios that come with imbik, cases last.

    >>> "bank-support" in shipped_scenarios()
    True
    """
    order = ("cloud-gpu", "edge", "mobile", "iot", "offline", "real-time")
    names = {entry.name.removesuffix(".yaml") for entry in _FOLDER.iterdir() if entry.name.endswith(".yaml")}
    # decision.yaml lies in the same folder and is a tree of questions, no scenario
    return tuple(n for n in order if n in names) + tuple(sorted(names - set(order) - {"decision"}))


def load_scenario(name: str) -> Scenario:
    """Load a shipped scenario by name, or one from a YAML file.

    Raises:
        UserError: no such scenario or file, broken YAML, an unknown field or quantity, a requirement without
            exactly one limit.

    >>> load_scenario("bank-support").requirements[0].quantity
    'retention'
    """
    path = with_home(name)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return parse_scenario(read_yaml(path, "scenario file", _offer()), name)
    if name not in shipped_scenarios():
        close = difflib.get_close_matches(name, shipped_scenarios(), 1)
        raise UserError(
            "no such scenario",
            where="--scenario",
            found=name,
            expected=", ".join(shipped_scenarios()),
            fix=f"did you mean {close[0]}?" if close else "name one of these or a YAML file",
        )
    return parse_scenario(parse_yaml(_FOLDER.joinpath(f"{name}.yaml").read_text("utf-8"), name), name)


def load_scenarios(names: Sequence[str]) -> tuple[Scenario, ...]:
    """Load several scenarios, each once, by :func:`load_scenario`.

    Raises:
        UserError: as there; two different ones have the same name, by which tables and reports tell them apart.

    >>> [scenario.name for scenario in load_scenarios(["edge", "iot", "edge"])]
    ['edge', 'iot']
    """
    found: dict[str, tuple[str, Scenario]] = {}
    for name in names:
        scenario = load_scenario(name)
        first, same = found.setdefault(scenario.name, (name, scenario))
        if same != scenario:
            raise UserError(
                "two scenarios have the same name",
                where=name,
                found=f"name: {scenario.name}, as in {first}",
                fix="give one of them another name",
            )
    return tuple(scenario for _, scenario in found.values())


def parse_scenario(document: object, where: str) -> Scenario:
    """Read a scenario from a parsed YAML mapping; ``where`` names it in messages.

    Raises:
        UserError: as :func:`load_scenario`.
    """
    scenario = validated(Scenario, _renamed(document), where, _WORDING)
    for i, requirement in enumerate(scenario.requirements):
        check_requirement(requirement, scenario.requirements[:i], f"{where}, requirements.{i}")
    for i, preference in enumerate(scenario.prefer):
        check_quantity(preference.quantity, f"{where}, prefer.{i}.quantity")
    if any(r.quantity == "batch_hours" for r in scenario.requirements) and scenario.volume.items_per_batch is None:
        raise UserError("batch_hours needs the size of the batch", where=f"{where}, volume", fix="add volume: {items_per_batch: 200000}")
    return scenario


def _renamed(document: object) -> object:
    """Return the document with the names of :class:`Scenario` for its keys, and ``study`` for the older ``brief``."""
    if not isinstance(document, dict):
        return document
    known = {_KEYS.get(key, key): value for key, value in document.items()}
    match known:
        case {"requirements": list() as requirements}:
            known["requirements"] = [_of_study(requirement) for requirement in requirements]
    return known


def _of_study(requirement: object) -> object:
    match requirement:
        case {"source": "brief", **rest}:
            return {**rest, "source": "study"}
    return requirement


def shipped_text(name: str) -> str:
    """Return the YAML of a shipped scenario, comments and all, to copy and edit.

    Raises:
        UserError: no such scenario.
    """
    load_scenario(name)
    return _FOLDER.joinpath(f"{name}.yaml").read_text("utf-8")


def _offer() -> str:
    return f"name a YAML file that exists, or one of {', '.join(shipped_scenarios())}"
