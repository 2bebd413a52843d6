"""The result of a comparison: what ``compare.json`` holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from imbik.recommend.models.settings import Setting


class Spread(TypedDict):
    """One measure of one model over the splits, with Student's 95 % interval (of a single split: the value itself)."""

    mean: float
    low: float
    high: float
    values: list[float]


class Entry(TypedDict):
    """One model; ``versus_best`` is its paired comparison with the best one."""

    name: str
    settings: dict[str, Setting]
    measures: dict[str, Spread]
    versus_best: dict[str, float | None]


class LeftOut(TypedDict):
    """A model that is not in the table, and why."""

    name: str
    reason: str


class DataFacts(TypedDict):
    """How much there was to learn from."""

    ratings: int
    users: int
    items: int
    implicit: bool


class Comparison(TypedDict):
    """All of it, the best model first."""

    schema: int
    metric: str
    k: int
    splits: int
    test: float
    seed: int
    data: DataFacts
    environment: dict[str, str | int | None]
    models: list[Entry]
    left_out: list[LeftOut]


def decimal(value: float, places: int = 4) -> str:
    """Return a number as tables and files show it: so many places behind the point, or three digits of one that they would hide.

    Ratings have any unit: errors of prices in millions, and of shares of a millionth.

    >>> decimal(0.12345), decimal(-2.5e7), decimal(0.0), decimal(1.23456e-5)
    ('0.1235', '-25000000.0000', '0.0000', '1.23e-05')
    """
    hidden = 0 < abs(value) < 10.0 ** (1 - places)
    return f"{value:.3g}" if hidden else f"{value:.{places}f}"
