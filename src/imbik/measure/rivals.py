"""What candidates gain over what a user would try first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from imbik.measure.measurement import Measurement, OverRival, group
from imbik.measure.quantities import dev_merit
from imbik.tasks.outputs import Outputs
from imbik.tasks.retention import Evaluable, gain


def best_rival(measurements: Sequence[Measurement]) -> Measurement | None:
    """Return the rival that is best on dev, of equals the fastest; None where none was measured."""
    rivals = [m for m in measurements if m.rival and m.dev_quality.value is not None]
    # the id last: the same measurements always give the same rival
    return min(rivals, key=lambda m: (-dev_merit(m), m.latency_ms.p50 or math.inf, m.id), default=None)


def over_rivals(
    measurements: Sequence[Measurement], data: Evaluable, outputs: Mapping[str, Mapping[str, Outputs]]
) -> tuple[Measurement, ...]:
    """Return the measurements with what each gains over the best rival, which says nothing of itself.

    Args:
        measurements: of one run.
        data: what was measured on.
        outputs: id -> split -> what the model gave.
    """
    rival = best_rival(measurements)
    if rival is None:
        return tuple(measurements)
    other = outputs[rival.id]["test"]
    found = []
    for m in measurements:
        known = None if m.id == rival.id else gain(data, outputs[m.id]["test"], other)
        found.append(m if known is None else replace(m, over_rival=group(OverRival, known | {"id": rival.id})))
    return tuple(found)
