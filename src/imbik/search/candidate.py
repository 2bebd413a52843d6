"""An architecture that was looked at, and what is better among them."""

from __future__ import annotations

from dataclasses import dataclass

from imbik.measure.values import Limits
from imbik.search.costs import Cost
from imbik.search.space import Architecture


@dataclass(frozen=True)
class Candidate:
    """An architecture that was looked at.

    Attributes:
        architecture: what it is.
        retention: share of the teacher's dev quality, as a part of the supernet.
        cost: by the table.
    """

    architecture: Architecture
    retention: float
    cost: Cost

    def violation(self, limits: Limits) -> float:
        """Return by how much it exceeds time and bytes, as a share of the limits; 0 within them."""
        over = 0.0
        for value, limit in ((self.cost.ms, limits.max_latency_ms), (self.cost.bytes / 1e6, limits.max_mb)):
            over += max(0.0, value / limit - 1.0) if limit is not None else 0.0
        return over

    def rank(self, limits: Limits) -> tuple[float, float, float]:
        """Return what the best one has most of.

        Least over the limits first; then, where time or bytes are limited, retention and speed, else speed among those that keep enough.
        """
        limited = limits.max_latency_ms is not None or limits.max_mb is not None
        kept = self.retention if limited else min(self.retention, limits.min_retention)
        return (-self.violation(limits), kept, -self.cost.ms)
