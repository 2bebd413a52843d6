"""The recipes that ``imbik compress`` climbs when none is named: cheapest first, for this teacher and this task."""

from __future__ import annotations

from collections.abc import Sequence

from imbik.students.pooled import why_not
from imbik.types import TaskName

_BAGS = ("bag-64+vocabulary-tight+int4", "bag+vocabulary-tight+int8")
"""Bags for the fewest bytes and for quality: they know only pieces that they have learned from, so others are bytes without a use."""


def image_ladder(depth: int, stages: Sequence[int], *, matrices: bool) -> list[str]:
    """Return the names of the recipes for a teacher that reads images, in the order of what they cost to make.

    Args:
        depth: its layers; 0 for a network that has none to leave out one by one.
        stages: the blocks of each of its stages; empty for a network without.
        matrices: whether most of its weights are in matrices.

    >>> image_ladder(4, (), matrices=True)
    ['int8', 'int8-static', 'layers-1+int8', 'layers-2+int8', 'layers-3+int8', 'svd-50+int8']
    >>> image_ladder(0, (2, 2), matrices=False)
    ['int8-static', 'blocks-1', 'blocks-1+int8-static', 'half-width', 'half-width+int8-static']
    """
    # at run time matrices alone are quantized
    int8 = "int8" if matrices else "int8-static"
    layers = sorted({max(1, depth // 4), max(1, depth // 2), max(1, depth * 3 // 4)} & set(range(1, depth)))
    names = [*(["int8"] if matrices else []), "int8-static", *(f"layers-{count}+{int8}" for count in layers)]
    fewer = [f"blocks-{count}" for count in range(1, max(stages, default=1))][:2]
    for name in (*fewer, "half-width") if stages else ():
        names += [name, f"{name}+{int8}"]
    return [*names, *(["svd-50+int8"] if matrices and depth else [])]


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
    pooled = [] if why_not(task, pairs) else [*_BAGS, "conv-augmented+vocabulary+int8"]
    names = [*pooled, "int8", *(f"layers-{count}+int8" for count in layers)]
    if width > 192:
        names.append("mini-2x192+int8")
    if width > 256:
        names.append("mini-4x256+int8")
    return names
