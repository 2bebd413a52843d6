"""The result of a comparison: what ``compare.json`` holds."""

from __future__ import annotations

from typing import TypedDict

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
