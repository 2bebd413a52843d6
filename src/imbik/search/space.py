"""The space that is searched: which layers stay, and how many heads and units each of them keeps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imbik.pruning.table import Architecture

SKIP = -1
"""A layer's decision to be left out."""

Decisions = tuple[int, ...]
"""For every layer two numbers: which of the space's widths its attention and its feed-forward network have, or twice :data:`SKIP`."""


@dataclass(frozen=True)
class Space:
    """What may be decided.

    Attributes:
        depth: layers of the teacher.
        heads, units: the widths that a layer may have, ascending; the last is the teacher's own.
        fixed: layers that always stay, see :func:`imbik.pruning.depth.removable`.
    """

    depth: int
    heads: tuple[int, ...]
    units: tuple[int, ...]
    fixed: tuple[int, ...] = ()

    @classmethod
    def of(cls, depth: int, heads: int, units: int, fixed: Sequence[int] = (), multiple: int = 32) -> Space:
        """Return the space of a teacher: quarters of its heads; an eighth, a quarter, a half and all of its units, in multiples.

        >>> Space.of(6, 12, 1536)
        Space(depth=6, heads=(3, 6, 9, 12), units=(192, 384, 768, 1536), fixed=())
        """
        # of one head all quarters are that head: the set leaves one
        some = {max(1, math.ceil(heads * part / 4)) for part in (1, 2, 3)} | {heads}
        # a narrow network has nothing to gain from multiples, and fewer choices to lose
        step = multiple if units >= 8 * multiple else 1
        wide = {max(step, round(units * part / step) * step) for part in (1 / 8, 1 / 4, 1 / 2)} | {units}
        return cls(depth, tuple(sorted(some)), tuple(sorted(wide)), tuple(fixed))

    @property
    def full(self) -> Decisions:
        """The teacher itself."""
        return (len(self.heads) - 1, len(self.units) - 1) * self.depth

    @property
    def smallest(self) -> Decisions:
        """One layer, the last, with the least of everything; and those that always stay."""
        last = {self.depth - 1, *self.fixed}
        return tuple(value for place in range(self.depth) for value in ((0, 0) if place in last else (SKIP, SKIP)))

    @property
    def size(self) -> int:
        """How many architectures there are."""
        # a free layer has one choice more, to go; all of them gone is no model
        one = len(self.heads) * len(self.units)
        free = self.depth - len(self.fixed)
        return int(one ** len(self.fixed) * ((one + 1) ** free - (0 if self.fixed else 1)))

    def checked(self, decisions: Sequence[int]) -> Decisions:
        """Return decisions that may be of this space's architectures, as they come from a file.

        Raises:
            ValueError: they are not.

        >>> Space(1, (1, 2), (8,)).checked([1, 0])
        (1, 0)
        """
        found = tuple(decisions)
        pairs = list(zip(found[::2], found[1::2], strict=False))
        widths = (range(len(self.heads)), range(len(self.units)))
        fits = all(type(value) is int for value in found) and len(found) == 2 * self.depth
        # a layer is out as a whole, or has one of the widths of each kind; one of all layers stays, and those that always stay
        fits = fits and all(pair == (SKIP, SKIP) or (pair[0] in widths[0] and pair[1] in widths[1]) for pair in pairs)
        stay = {place for place, pair in enumerate(pairs) if pair != (SKIP, SKIP)}
        if not fits or not stay or not stay.issuperset(self.fixed):
            raise ValueError(f"{list(found)[:12]} is no architecture of this space")
        return found

    def draw(self, generator: np.random.Generator) -> Decisions:
        """Return a random architecture: its depth uniformly, then which layers, then every width."""
        free = [place for place in range(self.depth) if place not in self.fixed]
        # depth first: drawn layer by layer, nearly all would have half of the layers
        count = int(generator.integers(0 if self.fixed else 1, len(free) + 1))
        stay = {*self.fixed, *(free[i] for i in generator.permutation(len(free))[:count])}
        found: list[int] = []
        for place in range(self.depth):
            widths = (int(generator.integers(len(self.heads))), int(generator.integers(len(self.units))))
            found += widths if place in stay else (SKIP, SKIP)
        return tuple(found)

    def mutated(self, parent: Decisions, generator: np.random.Generator) -> Decisions:
        """Return the parent with one decision changed: a layer put in or left out, or one width."""
        while True:
            child, place = list(parent), int(generator.integers(self.depth))
            # heads, units, or the layer as a whole
            kind = int(generator.integers(3))
            if kind == 2 and place not in self.fixed:
                there = child[2 * place] != SKIP
                widths = (int(generator.integers(len(self.heads))), int(generator.integers(len(self.units))))
                child[2 * place : 2 * place + 2] = (SKIP, SKIP) if there else widths
            elif kind < 2 and child[2 * place] != SKIP:
                child[2 * place + kind] = int(generator.integers(len((self.heads, self.units)[kind])))
            if tuple(child) != parent and any(value != SKIP for value in child):
                return tuple(child)

    def architecture(self, decisions: Decisions) -> Architecture:
        """Return what the decisions stand for."""
        stay = [place for place in range(self.depth) if decisions[2 * place] != SKIP]
        heads = tuple(self.heads[decisions[2 * place]] for place in stay)
        return Architecture(tuple(stay), heads, tuple(self.units[decisions[2 * place + 1]] for place in stay))
