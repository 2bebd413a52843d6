"""Layers that use one set of weights: which layer belongs to which group."""

from __future__ import annotations


def group_of(layer: int, layers: int, groups: int) -> int:
    """Return the group that a layer (0-based) belongs to.

    ALBERT's own rule: consecutive layers of nearly equal number.

    >>> [group_of(layer, 6, 4) for layer in range(6)]
    [0, 0, 1, 2, 2, 3]
    """
    return int(layer / (layers / groups))
