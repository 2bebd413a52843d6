"""What was looked at, architectures and whole recipes, and what is better among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from imbik.measure.values import Limits
from imbik.pruning.table import Architecture, Cost

One = TypeVar("One", bound="Rated")


class Rated:
    """Something with a quality and a cost.

    Attributes:
        retention: share of the teacher's dev quality.
        cost: what it costs.
    """

    retention: float
    cost: Cost

    def violation(self, limits: Limits) -> float:
        """Return by how much it exceeds time and bytes, as a share of the limits; 0 within them."""
        over = 0.0
        for value, limit in ((self.cost.ms, limits.max_latency_ms), (self.cost.bytes / 1e6, limits.max_mb)):
            over += max(0.0, value / limit - 1.0) if limit is not None else 0.0
        return over

    def shortfall(self, limits: Limits) -> float:
        """Return by how much it keeps less than it should, as a part of the teacher's quality; 0 where it keeps enough."""
        return max(0.0, limits.min_retention - self.retention)

    def rank(self, limits: Limits) -> tuple[float, float, float]:
        """Return what the best one has most of.

        Least over the limits first; then, where time or bytes are limited, retention and speed, else speed among those that keep enough.
        Where one within the limits keeps enough, so does the best one.
        """
        limited = limits.max_latency_ms is not None or limits.max_mb is not None
        kept = self.retention if limited else min(self.retention, limits.min_retention)
        return (-self.violation(limits), kept, -self.cost.ms)

    def beats(self, other: Rated) -> bool:
        """Return whether it is nowhere worse in retention, time of a request and bytes, and somewhere better."""
        own, its = ((-one.retention, one.cost.ms, one.cost.bytes) for one in (self, other))
        return own != its and all(a <= b for a, b in zip(own, its, strict=True))


@dataclass(frozen=True)
class Candidate(Rated):
    """An architecture that was looked at.

    Attributes:
        architecture: what it is.
        retention: share of the teacher's dev quality, as a part of the supernet.
        cost: by the table.
    """

    architecture: Architecture
    retention: float
    cost: Cost


@dataclass(frozen=True)
class Made(Rated):
    """A recipe that was made and measured on one engine.

    Attributes:
        name: of the recipe, and of its folder.
        engine: what ran it.
        document: the recipe, as YAML has it.
        retention, cost: as they were measured.
    """

    name: str
    engine: str
    document: dict[str, Any]
    retention: float
    cost: Cost


def front(candidates: Sequence[One]) -> list[One]:
    """Return those that no other beats in retention, time of a request and bytes, in their order."""
    return [one for one in candidates if not any(other.beats(one) for other in candidates)]
