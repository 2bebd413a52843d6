"""Scenarios: shipped and user-written YAML files that say what a deployment asks for, read and checked."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import field
from importlib.resources import files
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from imbik.errors import UserError
from imbik.jobs.paths import with_home
from imbik.jobs.validated import Wording, parse_yaml, read_yaml, validated
from imbik.measure.quantities import QUANTITIES

_FOLDER = files("imbik.advise").joinpath("scenarios")
_LARGEST_SHARE = 10.0  # a candidate may take several times the teacher's CPU time; nothing sensible asks for ten times
_AT_MOST_ONE = ("agreement", "ece", "standalone")
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


_STRICT = ConfigDict(extra="forbid")
_KEYS = {"about": "text", "brief": "study"}  # key of a file -> field here; files written for imbik 0.1 say brief


@dataclass(frozen=True, config=_STRICT)
class Requirement:
    """A limit on a measured quantity.

    Attributes:
        quantity: a name of :data:`imbik.measure.quantities.QUANTITIES`.
        at_least, at_most: the limit, exactly one of them.
        weight: in the score; 0 makes it a wish that decides nothing.
        source: who states the limit: ``study`` (the study of DistilBERT, MobileBERT and TinyBERT), ``imbik`` (our default), ``user``.
    """

    quantity: str
    at_least: Annotated[float, Field(allow_inf_nan=False)] | None = None
    at_most: Annotated[float, Field(allow_inf_nan=False)] | None = None
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    source: str = "user"

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("give exactly one of at_least and at_most")

    @property
    def limit(self) -> float:
        """The limit, whichever way it points."""
        return float(self.at_least if self.at_least is not None else self.at_most or 0.0)


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
        _known(requirement.quantity, f"{where}, requirements.{i}.quantity")
        _share(requirement, f"{where}, requirements.{i}")
        _direction(requirement, f"{where}, requirements.{i}")
        _reachable(requirement, f"{where}, requirements.{i}")
        _beside(scenario.requirements[:i], requirement, f"{where}, requirements.{i}")
    for i, preference in enumerate(scenario.prefer):
        _known(preference.quantity, f"{where}, prefer.{i}.quantity")
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


def _share(requirement: Requirement, where: str) -> None:
    """Check that a limit on a share is not written as a percentage. An error, which is quality too, may be large."""
    limit, is_quality = requirement.limit, requirement.quantity == "quality"
    # whatever is better when it is more is at most 1: accuracy, F1, a correlation
    too_large = requirement.at_least is not None and limit > 1 if is_quality else limit > _LARGEST_SHARE
    if QUANTITIES[requirement.quantity].unit == "share" and too_large:
        raise UserError(
            "a share is wanted, not a percentage",
            where=where,
            found=f"{requirement.quantity} {limit:g}",
            expected=f"{limit / 100:g} for {limit:g} %",
        )


def _offer() -> str:
    return f"name a YAML file that exists, or one of {', '.join(shipped_scenarios())}"


def _direction(requirement: Requirement, where: str) -> None:
    """Check that a limit points where it is one: at least 5 ms would refuse what is fast. Quality may be an error, so both ways hold."""
    better = QUANTITIES[requirement.quantity].better
    if requirement.quantity == "quality" or (requirement.at_most is not None) == (better == "lower"):
        return
    given, wanted = ("at_least", "at_most") if better == "lower" else ("at_most", "at_least")
    raise UserError(
        "the limit points in the wrong direction",
        where=where,
        found=f"{requirement.quantity}, {given}: {requirement.limit:g}",
        expected=f"{wanted}: {'less' if better == 'lower' else 'more'} of it is better",
        fix=f"write {wanted}",
    )


def _reachable(requirement: Requirement, where: str) -> None:
    """Check that something can keep the limit: no time, size or rate is below 0, and no share of equal answers above 1."""
    quantity, limit = requirement.quantity, requirement.limit
    # a correlation may be negative, and every quality has another scale
    if quantity == "quality":
        return
    below = limit < 0 or (limit == 0 and requirement.at_most is not None and quantity != "ece")
    if below or (quantity in _AT_MOST_ONE and limit > 1):
        raise UserError(
            "no candidate can keep this limit, or each does",
            where=where,
            found=f"{quantity} {limit:g}",
            expected="0 to 1" if quantity in _AT_MOST_ONE else "a number above 0",
        )


def _beside(earlier: Sequence[Requirement], requirement: Requirement, where: str) -> None:
    """Check that a quantity is not limited twice in one direction, nor from both sides so that nothing is between."""
    for other in earlier:
        if other.quantity != requirement.quantity:
            continue
        twice = (other.at_least is None) == (requirement.at_least is None)
        least, most = (requirement, other) if other.at_least is None else (other, requirement)
        if twice or least.limit > most.limit:
            raise UserError(
                "two limits on one quantity" if twice else "no value keeps both limits",
                where=where,
                found=f"{requirement.quantity} {requirement.limit:g} beside {other.limit:g}",
                fix="keep one of them",
            )
