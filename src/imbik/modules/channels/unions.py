"""Sets of numbers that are merged: which channels must stay or go together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
FIXED = 0
"""The set of all that keeps its place."""


class Unions:
    """Disjoint sets of the numbers 0, 1, … (Tarjan 1975); number 0 is :data:`FIXED`.

    >>> sets = Unions()
    >>> a, b = sets.new(2), sets.new(2)
    >>> sets.tie(a, b[::-1])
    >>> bool((sets.roots(a) == sets.roots(b)[::-1]).all())
    True
    """

    def __init__(self) -> None:
        self._parents = [FIXED]

    def new(self, count: int) -> Ids:
        """Return numbers that no set holds yet, each a set of its own."""
        first = len(self._parents)
        self._parents.extend(range(first, first + count))
        return np.arange(first, first + count)

    def root(self, number: int) -> int:
        """Return the number that stands for a set; that of :data:`FIXED` is itself."""
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number

    def roots(self, ids: Ids) -> Ids:
        """Return the root of every number, in the same shape."""
        # arrays are as large as tensors and hold few numbers
        unique, back = np.unique(ids, return_inverse=True)
        return np.array([self.root(int(one)) for one in unique], np.int64)[back].reshape(ids.shape)

    def tie(self, a: Ids, b: Ids) -> None:
        """Merge the sets of each pair of two arrays of one shape."""
        pairs = np.unique(np.stack([a.reshape(-1), b.reshape(-1)]), axis=1)
        for one, other in pairs.T:
            low, high = sorted((self.root(int(one)), self.root(int(other))))
            # the smaller number stands for both, so that what is fixed stays fixed
            self._parents[high] = low

    def fix(self, ids: Ids) -> None:
        """Merge the sets of some numbers into :data:`FIXED`."""
        for one in np.unique(ids):
            self._parents[self.root(int(one))] = FIXED
