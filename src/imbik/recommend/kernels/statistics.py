"""What the users of a part of the matrix say of each item, as sums that are equal however the users are divided.

For an item with ratings r_j by users with rows z_j, all that its conditional needs of them is

    sum_j w_j z_j z_j'   (its upper triangle),      sum_j t_j z_j,      t_j = w_j (r_j - offset_j)

Users are cut into *leaves*, and the sums of leaves are added along one binary tree: leaves 0 and 1, 2 and 3, then the two pairs, ...
Floating point addition is not associative, but the tree is the same whoever holds its leaves, and so is its root.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from imbik.recommend.data.ratings import Array
from imbik.recommend.kernels.gaussian import Design, Prior, Side, add_prior, inverse_diagonal, solve, sum_ratings, workspace
from imbik.recommend.kernels.parallel import parallel
from imbik.recommend.kernels.tile import cholesky


def length(dims: int) -> int:
    """Return how many numbers the sums of one item are: a triangle and a vector.

    >>> length(3)
    9
    """
    return dims * (dims + 1) // 2 + dims


@njit(cache=True)  # type: ignore[untyped-decorator]
def _pack(matrix: Array, vector: Array, dims: int, out: Array) -> None:
    """Write the upper triangle row by row, then the vector."""
    place = 0
    for i in range(dims):
        for j in range(i, dims):
            out[place] = matrix[i, j]
            place += 1
    for i in range(dims):
        out[place + i] = vector[i]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _add_leaf(leaf: int, some: bool, current: Array, pending: Array, filled: Array) -> None:
    """Add the sums of the next leaf to the unfinished sums, one for each height of the tree, as in a binary counter."""
    level = 0
    while leaf & 1:  # both halves of this node are known; an empty one adds nothing
        if filled[level]:
            for k in range(len(current)):
                current[k] = pending[level, k] + current[k] if some else pending[level, k]
            some, filled[level] = True, False
        leaf >>= 1
        level += 1
    if some:
        pending[level], filled[level] = current, True


@parallel()
def item_statistics(borders: Array, side: Side, leaves: Array, other: Design, dims: int) -> Array:
    """Return the sums of every item over the users of one node of the tree, (items, length(dims)) float64.

    Args:
        borders: runs of items, see :func:`imbik.recommend.kernels.gaussian.chunks`.
        side: the items; their columns are users, in rising order.
        leaves: borders of the users of each leaf, (leaves + 1,); a power of two of leaves.
        other: the users.
        dims: of their rows.
    """
    indptr, indices = side[0], side[1]
    out = np.zeros((len(indptr) - 1, dims * (dims + 1) // 2 + dims))
    for chunk in prange(len(borders) - 1):
        work = workspace(dims, other[0].shape[1])
        size, levels = len(out[0]), 1
        while 1 << (levels - 1) < len(leaves) - 1:
            levels += 1
        pending, filled = np.zeros((levels, size)), np.zeros(levels, np.bool_)
        current = np.zeros(size)
        for row in range(borders[chunk], borders[chunk + 1]):
            first, stop = indptr[row], indptr[row + 1]
            while first < stop and indices[first] < leaves[0]:  # users of another node
                first += 1
            for leaf in range(len(leaves) - 1):
                last = first
                while last < stop and indices[last] < leaves[leaf + 1]:
                    last += 1
                some = last > first  # an empty leaf costs nothing: its sums are not even cleared
                if some:
                    sum_ratings(first, last, side, other, work)
                    _pack(work[3], work[4], dims, current)
                _add_leaf(leaf, some, current, pending, filled)
                first = last
            if filled[levels - 1]:
                out[row], filled[levels - 1] = pending[levels - 1], False
    return out


@parallel()
def solve_statistics(borders: Array, sums: Array, counts: Array, prior: Prior, noise: Array, out: Array, variances: Array) -> int:
    """Solve or sample the rows whose sums are known; return the number of rows that could not be solved.

    Args:
        borders: runs of rows.
        sums: of :func:`item_statistics`, over all users.
        counts: ratings of each row, (n,).
        prior, noise, out, variances: as :func:`imbik.recommend.kernels.gaussian.gaussian_rows` takes them.
    """
    dims = prior[0].shape[0]
    failed = 0
    for chunk in prange(len(borders) - 1):
        work = workspace(dims, -(-dims // 16) * 16)
        matrix, vector = work[3], work[4]
        column, diagonal = np.zeros(dims), np.zeros(dims)
        quiet = np.zeros(0, np.float32)
        bad = 0
        for row in range(borders[chunk], borders[chunk + 1]):
            matrix[:] = 0.0
            vector[:] = 0.0
            place = 0
            for i in range(dims):
                for j in range(i, dims):
                    matrix[i, j] = sums[row, place]
                    place += 1
            for i in range(dims):
                vector[i] = sums[row, place + i]
            add_prior(counts[row], prior, work)
            if not cholesky(matrix, dims):
                bad += 1
                continue
            solve(matrix, vector, noise[row] if len(noise) else quiet, dims)
            for d in range(dims):
                out[row, d] = vector[d]
            if len(variances):
                inverse_diagonal(matrix, dims, column, diagonal)
                for d in range(dims):
                    variances[row, d] = diagonal[d]
        failed += bad
    return failed
