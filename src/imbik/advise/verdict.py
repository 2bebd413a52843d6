"""Verdicts: one candidate against one scenario's requirements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imbik.advise.requirement import Requirement
from imbik.measure.quantities import QUANTITIES, Reading

MARGIN = 0.2  # a limit kept by a fifth is kept with margin, where there is no interval to judge by


ORDER = ("fit", "caution", "open", "unfit")


ORIGIN = {"quality": "data", "property": "property", "machine": "here", "proxy": "proxy"}


@dataclass(frozen=True)
class Verdict:
    """One requirement on one candidate.

    Attributes:
        quantity, limit, sense, weight, source: the requirement; ``sense`` is ``at_least`` or ``at_most``.
        value: what is judged (dev for quality and retention); None when it was not measured where it counts.
        reported, low, high: the reported split's figure with its 95 % interval, where there is one.
        status: ``margin``, ``met``, ``borderline``, ``not_met`` or ``not_measured``.
        meets: whether the judged point estimate keeps the limit; None when not measured.
        headroom: relative distance on the good side of the limit, negative beyond it.
        origin: see :mod:`imbik.advise.advice`.
        here: this machine's figure where the target's is missing; a hint, never judged.
    """

    quantity: str
    limit: float
    sense: str
    weight: float
    source: str
    value: float | None
    reported: float | None
    low: float | None
    high: float | None
    status: str
    meets: bool | None
    headroom: float | None
    origin: str
    here: float | None = None

    @property
    def shown(self) -> str:
        """The status as readers see it: ``missed`` is a borderline figure beyond its limit, which decides as ``not_met`` does."""
        return "missed" if self.status == "borderline" and self.meets is False else self.status

    @property
    def unit(self) -> str:
        """What the quantity is counted in, see :class:`imbik.measure.quantities.Quantity`."""
        return QUANTITIES[self.quantity].unit


@dataclass(frozen=True)
class CandidateVerdict:
    """One candidate against a whole scenario.

    Attributes:
        overall: ``fit``, ``caution``, ``open`` or ``unfit``, see :func:`overall`.
        score: see :func:`score`.
        requirements: the verdict on each, in the scenario's order.
        needs: sentences, what would have to change for it to fit.
    """

    overall: str
    score: float
    requirements: tuple[Verdict, ...]
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Advice:
    """Which candidate a scenario asks for, with the verdict on each by id and the reasons in sentences."""

    choice: str
    verdicts: Mapping[str, CandidateVerdict]
    reasons: tuple[str, ...]
    pareto: tuple[str, ...]


def judge(requirement: Requirement, reading: Reading, origin: str, here: float | None = None) -> Verdict:
    """Judge one requirement.

    With a 95 % interval: ``borderline`` when the limit lies inside it or the judged and the reported split
    disagree; ``margin`` when the whole interval keeps the limit by at least half its width. Without one:
    ``margin`` when the limit is kept by 20 % or more.
    """
    sense = "at_least" if requirement.at_least is not None else "at_most"
    limit = requirement.limit
    sign = 1.0 if sense == "at_least" else -1.0
    headroom = meets = None
    status = "not_measured"
    if reading.value is not None:
        # relative to the limit; with a limit of 0 the difference itself
        headroom = sign * (reading.value - limit) / (abs(limit) or 1.0)
        meets = headroom >= 0
        status = _status(meets, headroom, sign, limit, reading)
    return Verdict(
        quantity=requirement.quantity,
        limit=limit,
        sense=sense,
        weight=requirement.weight,
        source=requirement.source,
        value=reading.value,
        reported=reading.reported,
        low=reading.low,
        high=reading.high,
        status=status,
        meets=meets,
        headroom=headroom,
        origin=origin if reading.value is not None else "none",
        here=here,
    )


def _status(meets: bool, headroom: float, sign: float, limit: float, reading: Reading) -> str:
    if reading.low is None or reading.high is None:
        if not meets:
            return "not_met"
        return "margin" if headroom >= MARGIN else "met"
    # the end of the interval that is worse for this requirement, whichever way it points
    worst, best = (reading.low, reading.high) if sign > 0 else (reading.high, reading.low)
    whole, any_part = sign * (worst - limit) >= 0, sign * (best - limit) >= 0
    if (meets and not whole) or (not meets and any_part):
        return "borderline"
    if not meets:
        return "not_met"
    return "margin" if sign * (worst - limit) >= (reading.high - reading.low) / 2 else "met"


def overall(verdicts: Sequence[Verdict]) -> str:
    """Return ``fit`` (all met), ``caution`` (all met, one or more borderline), ``open`` (none failed, some not
    measured) or ``unfit``; requirements of weight 0 are wishes and decide nothing."""
    deciding = [v for v in verdicts if v.weight > 0]
    # one that is not met outweighs what is open: no measurement could make it fit any more
    if any(v.meets is False for v in deciding):
        return "unfit"
    if any(v.meets is None for v in deciding):
        return "open"
    return "caution" if any(v.status == "borderline" for v in deciding) else "fit"


def score(verdicts: Sequence[Verdict]) -> float:
    """Return the weight of the requirements that are met over the weight of all, 0 to 1."""
    total = sum(v.weight for v in verdicts)
    # nothing asked for is all kept
    return sum(v.weight for v in verdicts if v.meets) / total if total else 1.0
