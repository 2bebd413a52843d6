"""The recipes that ``imbik compress`` climbs when none is named: cheapest first, for this teacher and this task."""

from __future__ import annotations

from imbik.students.pooled import why_not
from imbik.types import TaskName

_BAGS = ("bag-64+vocabulary-tight+int4", "bag+vocabulary-tight+int8")
"""Bags for the fewest bytes and for quality: they know only pieces that they have learned from, so others are bytes without a use."""


def ladder(task: TaskName, pairs: bool | None, depth: int, width: int) -> list[str]:
    """Return the names of at least five recipes, in the order of what they cost to make.

    First, where the task allows it, the students without layers, the smallest and fastest of all, which learn in seconds; int8 alone
    costs no training, but its model takes longest to measure; then the teacher's own layers, few first (they train fastest and gain
    most); then half and three quarters of its depth, which harder tasks need; last the narrow students, which have the least to start
    from.

    Args:
        task, pairs: what the teacher is asked; some students can do without layers for it.
        depth, width: the teacher's layers and hidden size.
    """
    layers = sorted({1, 2, max(1, depth // 2), max(1, depth * 2 // 3)} & set(range(1, depth + 1)))
    pooled = [] if why_not(task, pairs) else [*_BAGS, "conv+vocabulary+int8"]
    names = [*pooled, "int8", *(f"layers-{count}+int8" for count in layers)]
    if width > 192:
        names.append("mini-2x192+int8")
    if width > 256:
        names.append("mini-4x256+int8")
    return names
