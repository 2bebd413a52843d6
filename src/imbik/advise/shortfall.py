"""The limits that a candidate does not keep, and by how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from imbik.measure.measurement import Measurement
from imbik.measure.quantities import dev_retention
from imbik.measure.values import Limits, Shortfall
from imbik.types import Note


@dataclass(frozen=True)
class _Limit:
    """A limit beside what a candidate has: at least (``sign`` -1) or at most (1) ``limit``."""

    name: str
    value: float | None
    limit: float | None
    sign: int

    def shortfall(self) -> Shortfall | None:
        """Return how far the value is beyond the limit, relative to it; None where it is kept."""
        if self.limit is None:
            return None
        if self.value is None:
            # not measured is not kept: as far away as a value twice the limit
            return Shortfall(limit=self.limit, value=None, by=1.0)
        # relative, so that milliseconds, megabytes and shares can be added up; of a limit of 0 there is no
        # share, and the distance itself counts
        by = self.sign * (self.value - self.limit) / (self.limit or 1.0)
        return Shortfall(limit=self.limit, value=self.value, by=by) if by > 0 else None


def shortfalls_of(m: Measurement, teacher: Measurement | None, limits: Limits) -> dict[str, Shortfall]:
    """Return the limits that ``m`` does not keep."""
    kept = dev_retention(m, teacher) if teacher else None
    checked = (
        _Limit("retention", kept, limits.min_retention if teacher else None, -1),
        _Limit("latency_p95_ms", m.latency_ms.p95, limits.max_latency_ms, 1),
        _Limit("megabytes", None if m.bytes is None else m.bytes / 1e6, limits.max_mb, 1),
    )
    return {limit.name: found for limit in checked if (found := limit.shortfall()) is not None}


def lacking(shortfalls: Mapping[str, Shortfall], chosen: Measurement, teacher: Measurement | None) -> tuple[Note, ...]:
    """Return what a candidate lacks, a note per limit."""
    own, reference = chosen.dev_quality.value, teacher.dev_quality.value if teacher else None
    return tuple(
        Note.of("choice_no_share", quality=reference)
        if name == "retention" and missed.value is None and own is not None and reference is not None
        else Note.of("choice_not_measured", name=name)
        if missed.value is None
        else Note.of(f"choice_lacks_{name}", value=missed.value, limit=missed.limit or 0.0)
        for name, missed in shortfalls.items()
    )
