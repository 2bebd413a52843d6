"""A limit on a measured quantity, and what makes it one that a candidate can keep or miss."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from imbik.errors import UserError
from imbik.measure.quantities import QUANTITIES

_LARGEST_SHARE = 10.0  # a candidate may take several times the teacher's CPU time; nothing sensible asks for ten times
_AT_MOST_ONE = ("agreement", "ece", "standalone")


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
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


def check_requirement(requirement: Requirement, earlier: Sequence[Requirement], where: str) -> None:
    """Check that a requirement makes sense, alone and beside the ones before it.

    Args:
        requirement: what is asked.
        earlier: of the same scenario.
        where: names the requirement in messages.

    Raises:
        UserError: an unknown quantity, a percentage, the wrong direction, a limit that nothing or everything keeps, two limits at odds.
    """
    check_quantity(requirement.quantity, f"{where}.quantity")
    _share(requirement, where)
    _direction(requirement, where)
    _reachable(requirement, where)
    _beside(earlier, requirement, where)


def check_quantity(quantity: str, where: str) -> None:
    """Check that a quantity is one of :data:`imbik.measure.quantities.QUANTITIES`.

    Raises:
        UserError: it is not.
    """
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
