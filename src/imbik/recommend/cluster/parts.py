"""Users in leaves of equally many ratings, leaves in parts, and the one tree along which their sums are added.

The number of leaves follows from the ratings and not from the workers. A worker holds neighboring leaves and sends the sums of the
largest subtrees that they fill; whoever holds which leaves, the root is the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from imbik.errors import UserError
from imbik.recommend.data.ratings import Array, Compressed

FEWEST, MOST = 16, 256
"""Leaves: a power of two between these."""

_RATINGS = 2**20  # of a leaf, where the limits leave a choice: the adding of its sums costs little beside them

Node = tuple[int, int]
"""A subtree: its first leaf, and how many it has."""


class Part(NamedTuple):
    """What one worker holds.

    Attributes:
        first_leaf: number of its first leaf.
        first_row: code of its first user.
        leaves: borders of its leaves, counted from its first user, (leaves + 1,).
        side: the ratings of its users.
        weights: of the cells, or (0,). Cells with weights are events: what their model should give is 1.
        items: how many there are.
    """

    first_leaf: int
    first_row: int
    leaves: Array
    side: Compressed
    weights: Array
    items: int


def leaf_borders(indptr: Array) -> Array:
    """Return the borders of leaves with about equally many ratings, (leaves + 1,) of user codes.

    >>> len(leaf_borders(np.arange(0, 300, 3)))
    17
    """
    wanted = int(indptr[-1]) / _RATINGS
    count = int(np.clip(2 ** np.ceil(np.log2(max(wanted, 1))), FEWEST, MOST))
    users = len(indptr) - 1
    # A user costs a little even without ratings, so that a run of such users is divided as well.
    cost = indptr + np.arange(users + 1)
    inner = np.searchsorted(cost, np.linspace(0, cost[-1], count + 1)[1:-1])
    return np.concatenate([[0], np.minimum(inner, users), [users]]).astype(np.int64)


def shares(leaves: int, workers: int) -> list[tuple[int, int]]:
    """Return the first and the last leaf (exclusive) of each worker.

    Raises:
        UserError: there are more workers than leaves.

    >>> shares(16, 3)
    [(0, 5), (5, 11), (11, 16)]
    """
    if workers > leaves:
        raise UserError(
            "too many workers for these ratings", where="--workers", found=workers, expected=f"at most {leaves}", fix="give fewer --workers"
        )
    # leaves cost about the same, so as many for each
    borders = [round(leaves * k / workers) for k in range(workers + 1)]
    return list(pairwise(borders))


def part_of(side: Compressed, weights: Array, items: int, borders: Array, share: tuple[int, int]) -> Part:
    """Return the part of the users in a share of the leaves."""
    first, last = borders[share[0]], borders[share[1]]
    # views: what is sent to a worker is copied on the way
    start, stop = side.indptr[first], side.indptr[last]
    own = Compressed(side.indptr[first : last + 1] - start, side.indices[start:stop], side.values[start:stop])
    leaves = borders[share[0] : share[1] + 1] - first
    return Part(share[0], int(first), leaves, own, weights[start:stop] if len(weights) else weights, items)


def subtrees(first: int, last: int) -> list[Node]:
    """Return the largest subtrees that leaves first..last (exclusive) fill.

    >>> subtrees(5, 11)
    [(5, 1), (6, 2), (8, 2), (10, 1)]
    """
    found: list[Node] = []
    while first < last:
        size = first & -first or last  # a subtree of some size begins at its multiples; at 0 every size does
        while size & (size - 1) or first + size > last:
            size = size & (size - 1) if size & (size - 1) else size // 2
        found.append((first, size))
        first += size
    return found


def root(parts: Sequence[Mapping[Node, Array]], leaves: int) -> Array:
    """Return the sum over all leaves out of the sums of subtrees, added along the tree."""
    known = {node: sums for part in parts for node, sums in part.items()}

    def total(first: int, size: int) -> Array:
        if (first, size) in known:
            return known.pop((first, size))
        half = size // 2
        whole: Array = total(first, half) + total(first + half, half)
        return whole

    return np.require(total(0, leaves), requirements="W")  # what came out of Ray's store cannot be written
