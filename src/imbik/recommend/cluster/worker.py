"""One worker: it holds some users' ratings, draws or solves their rows, and says what they tell of the items."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from imbik.recommend.cluster.parts import Node, Part, subtrees
from imbik.recommend.data.ratings import Array, Compressed
from imbik.recommend.models.factors import NO_ROWS, as_side, seen_through, threads


class Given(NamedTuple):
    """What the rows of the users are drawn or solved from.

    Attributes:
        items: rows (items, D) float32, bias first where there are biases.
        spread: their variances (items, D), or no rows.
        mean: the constant of the model.
        biases: whether rows have one.
        prior: P, h, scale and whether P and h count for each rating; see ``kernels/gaussian.py``.
        key: of the normal numbers; None: the rows are solved and not drawn.
    """

    items: Array
    spread: Array
    mean: float
    biases: bool
    prior: tuple[Array, Array, float, bool]
    key: np.uint64 | None = None


class LeafMoments(NamedTuple):
    """Of the rows with ratings in one leaf: their number, sum (D,), sum of squares (D, D), sum of variances (D,)."""

    number: int
    sums: Array
    squares: Array
    variances: Array


class Drawn(NamedTuple):
    """What is known of the users after they were drawn.

    Attributes:
        failed: rows whose equations have no one solution.
        statistics: what they say of the items, by subtree: (items, D (D + 3) / 2) float64, see ``kernels/statistics.py``.
        moments: leaf by leaf.
    """

    failed: int
    statistics: dict[Node, Array]
    moments: list[LeafMoments]


class Worker:
    """The users of one part.

    What comes in is copied: arrays of Ray's store cannot be written, and for such the kernels would be compiled again.

    Args:
        part: their ratings.
        threads: that it computes with; 0: all cores.
    """

    def __init__(self, part: Part, threads: int) -> None:
        from imbik.recommend.kernels.gaussian import chunks

        self._side = Compressed(*(np.array(array) for array in part.side))
        self._weights = np.array(part.weights)
        self._part, self._threads = part._replace(side=self._side, weights=self._weights, leaves=np.array(part.leaves)), threads
        self._by_item, self._item_weights = _turned(self._side, self._weights, part.items)
        self._borders = chunks(self._side.indptr, 16), chunks(self._by_item.indptr, 16)
        self._given: Given | None = None
        self._rows, self._spread = NO_ROWS, NO_ROWS

    def draw(self, given: Given) -> Drawn:
        """Draw or solve the users' rows, and return what they say of the items."""
        from imbik.recommend.kernels.gaussian import gaussian_rows
        from imbik.recommend.kernels.normals import normal_rows

        users, dims = len(self._side.indptr) - 1, given.items.shape[1]
        self._given = given = given._replace(spread=np.array(given.spread))
        self._rows = np.empty((users, dims), np.float32)
        self._spread = np.zeros((users, dims), np.float32) if len(given.spread) else NO_ROWS
        precision, shift, scale, by_count = given.prior
        with threads(self._threads):
            # rows of the one table of all users: where they are drawn does not matter
            noise = NO_ROWS if given.key is None else normal_rows(given.key, self._part.first_row, users, dims)
            design = seen_through(given.items, given.mean, given.biases, given.spread)
            prior = np.array(precision), np.array(shift), scale, by_count
            side = as_side(self._side, self._weights)
            failed = int(gaussian_rows(self._borders[0], side, tuple(design), prior, noise, self._rows, self._spread))
            return Drawn(failed, dict(self._statistics(given)), list(self._moments()))

    def _statistics(self, given: Given) -> Iterator[tuple[Node, Array]]:
        from imbik.recommend.kernels.statistics import item_statistics

        # the roles are changed now: what the items' targets lose is the users' part of the prediction
        design = tuple(seen_through(self._rows, given.mean, given.biases, self._spread))
        first, side = self._part.first_leaf, as_side(self._by_item, self._item_weights)
        for start, size in subtrees(first, first + len(self._part.leaves) - 1):
            leaves = self._part.leaves[start - first : start - first + size + 1]
            yield (start, size), item_statistics(self._borders[1], side, leaves, design, self._rows.shape[1])

    def _moments(self) -> Iterator[LeafMoments]:
        rated = np.diff(self._side.indptr) > 0
        for first, last in zip(self._part.leaves[:-1], self._part.leaves[1:], strict=True):
            # users without ratings would only tell the population what it told them
            rows = self._rows[first:last][rated[first:last]].astype(np.float64)
            variances = (
                self._spread[first:last][rated[first:last]].astype(np.float64) if len(self._spread) else np.zeros((0, rows.shape[1]))
            )
            yield LeafMoments(len(rows), rows.sum(axis=0), rows.T @ rows, variances.sum(axis=0))

    def errors(self, items: Array, spread: Array) -> list[float]:
        """Return the squared error of the ratings of each leaf, given the items; of events, the squared distance from 1."""
        from imbik.recommend.kernels.gaussian import chunks, squared_error

        assert self._given is not None
        indptr, indices, values = self._side
        values = np.ones_like(values) if len(self._weights) else values
        found = []
        with threads(self._threads):
            design = tuple(seen_through(items, self._given.mean, self._given.biases, np.array(spread)))
            for first, last in zip(self._part.leaves[:-1], self._part.leaves[1:], strict=True):
                start, stop = indptr[first], indptr[last]
                # a leaf as if it were alone, so that its runs of rows, and with them its sum, are its own
                leaf = Compressed(indptr[first : last + 1] - start, indices[start:stop], values[start:stop])
                variances = self._spread[first:last] if len(self._spread) else NO_ROWS
                found.append(float(squared_error(chunks(leaf.indptr, 16), as_side(leaf), self._rows[first:last], variances, design)))
        return found

    def rows(self) -> Array:
        """Return the rows of the users, (users of the part, D)."""
        return self._rows


def _turned(side: Compressed, weights: Array, items: int) -> tuple[Compressed, Array]:
    """Return the ratings by item, users in rising order, and their weights in that order."""
    from scipy.sparse import csr_matrix

    # Moving the places of the ratings moves everything that belongs to them.
    places = np.arange(len(side.indices), dtype=np.int64)
    turned = csr_matrix((places, side.indices, side.indptr), shape=(len(side.indptr) - 1, items)).tocsc()
    by_item = Compressed(turned.indptr.astype(np.int64), turned.indices.astype(np.int32), side.values[turned.data])
    return by_item, weights[turned.data] if len(weights) else weights
