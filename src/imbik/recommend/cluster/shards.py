"""A side of users that lies on workers, as the code that draws or solves the items sees it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from imbik.jobs.cluster import connected
from imbik.recommend.cluster.on_ray import RayTransport
from imbik.recommend.cluster.parts import leaf_borders, part_of, root, shares
from imbik.recommend.cluster.place import HERE, Place
from imbik.recommend.cluster.team import LocalTransport, Team, Transport
from imbik.recommend.cluster.worker import Drawn, Given, LeafMoments
from imbik.recommend.data.ratings import Array, Compressed
from imbik.recommend.models.factors import NO_ROWS, NO_WEIGHTS, threads
from imbik.recommend.models.wishart import Moments


class Population(NamedTuple):
    """Of all users with ratings: what their prior asks for, and the sum of their variances (D,)."""

    moments: Moments
    variances: Array


class Shards:
    """The users on their workers, and the items here.

    Args:
        team: the workers.
        leaves: how many leaves they hold together.
        counts: ratings of each item, (items,).
    """

    def __init__(self, team: Team, leaves: int, counts: Array) -> None:
        from imbik.recommend.kernels.gaussian import chunks

        self.team, self.counts = team, counts
        self._leaves, self._borders = leaves, chunks(np.concatenate([[0], np.cumsum(counts)]), 16)

    @property
    def ratings(self) -> int:
        """How many there are."""
        return int(self.counts.sum())

    def draw(self, given: Given) -> tuple[Array, Population]:
        """Draw or solve the users; return what they say of the items, (items, D (D + 3) / 2), and what they are together.

        Raises:
            numpy.linalg.LinAlgError: the equations of some have no one solution.
        """
        drawn: list[Drawn] = self.team.draw(given)
        _check_solved(sum(part.failed for part in drawn))
        return root([part.statistics for part in drawn], self._leaves), _population([leaf for part in drawn for leaf in part.moments])

    def items(self, statistics: Array, prior: tuple[Array, Array, float, bool], key: np.uint64 | None, variances: Array = NO_ROWS) -> Array:
        """Draw (with a key) or solve the rows of the items, (items, D) float32; ``variances`` receives theirs, unless it has no rows.

        Raises:
            numpy.linalg.LinAlgError: as :meth:`draw`.
        """
        from imbik.recommend.kernels.normals import normal_rows
        from imbik.recommend.kernels.statistics import solve_statistics

        out = np.empty((len(self.counts), len(prior[1])), np.float32)
        with threads(0):  # the workers wait for these rows
            noise = NO_ROWS if key is None else normal_rows(key, 0, *out.shape)
            _check_solved(int(solve_statistics(self._borders, statistics, self.counts, prior, noise, out, variances)))
        return out

    def squared_error(self, items: Array, spread: Array = NO_ROWS) -> float:
        """Return the squared error of all ratings, given the items."""
        # Leaf by leaf, in their order: the sum does not depend on who holds them.
        return math.fsum(error for part in self.team.ask("errors", items, spread) for error in part)

    def users(self) -> Array:
        """Fetch the rows of all users, (users, D) float32."""
        return np.concatenate(self.team.ask("rows"))


def _check_solved(failed: int) -> None:
    if failed:
        raise np.linalg.LinAlgError(f"{failed} rows whose equations have no one solution")


def _population(leaves: list[LeafMoments]) -> Population:
    """Add up leaves, in their order."""
    count = sum(leaf.number for leaf in leaves)
    sums, squares, variances = (sum(getattr(leaf, name) for leaf in leaves) for name in ("sums", "squares", "variances"))
    # float64 about zero, moved to the center: rows are of the order of 1, so little is lost in the difference
    mean = sums / max(count, 1)
    return Population(Moments(count, mean, squares - count * np.outer(mean, mean)), variances)


@contextmanager
def sharded(place: Place, side: Compressed, items: int, threads: int, weights: Array = NO_WEIGHTS) -> Iterator[Shards]:
    """Context manager: yield users on the workers of a place, which end with it.

    Args:
        place: where.
        side: all ratings, by user.
        items: how many there are.
        threads: of a worker; 0: one on a cluster, all cores in this process.
        weights: of the ratings; see :class:`imbik.recommend.cluster.parts.Part`.

    Raises:
        UserError: no such cluster, too few processors, more workers than leaves, workers that die again and again.
    """
    # by the ratings alone: the same leaves whoever will hold them
    borders = leaf_borders(side.indptr)
    leaves = len(borders) - 1
    counts = np.bincount(side.indices, minlength=items)

    def yielded(transport: Transport, workers: int) -> Iterator[Shards]:
        divided = shares(leaves, workers)
        team = Team(transport, lambda k: part_of(side, weights, items, borders, divided[k]), workers)
        try:
            yield Shards(team, leaves, counts)
        finally:
            team.end()

    if place.address == HERE:
        yield from yielded(LocalTransport(threads), place.workers or 1)
        return
    if place.workers is not None:
        shares(leaves, place.workers)  # before Ray is started for them
    with connected(place.address, threads or 1, place.workers) as (ray, count):
        # processors that were not asked for, beyond the leaves, stay idle
        yield from yielded(RayTransport(ray, threads or 1), count if place.workers else min(count, leaves))
