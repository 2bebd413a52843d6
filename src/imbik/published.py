"""Published numbers and the brief's own tables, for columns of their own beside what is measured."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml

from imbik.roi import Cost, saving


@functools.cache
def published() -> dict[str, Any]:
    """``published.yaml``: ``models`` (from the papers, with source and convention) and ``brief`` (the requester's tables)."""
    document: dict[str, Any] = yaml.safe_load(files("imbik").joinpath("published.yaml").read_text("utf-8"))
    return document


@dataclass(frozen=True)
class BriefCost:
    """A row of the brief's cost table: what it asserts a month, and what follows from it."""

    name: str
    machine: str
    monthly: float
    yearly: float
    saved: float
    share: float


def brief_costs() -> tuple[BriefCost, ...]:
    """The brief's cost table as a worked example: its monthly prices, one machine each, twelve months, against its first row.

    >>> [(c.yearly, c.saved, round(c.share * 100)) for c in brief_costs()]
    [(14400, 0, 0), (6000, 8400, 58), (3000, 11400, 79), (1800, 12600, 88)]
    """
    rows = published()["brief"]["roi"]["rows"]
    costs = [Cost(row["name"], row["machine"], count=1, yearly=row["monthly"] * 12) for row in rows]
    found = []
    for row, cost in zip(rows, costs, strict=True):
        amount, share = saving(cost, costs[0]) or (0.0, 0.0)
        found.append(BriefCost(row["name"], row["machine"], row["monthly"], cost.yearly or 0.0, amount, share))
    return tuple(found)
