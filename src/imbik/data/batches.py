"""Batches of encoded texts: by budget of tokens, sorted or shuffled."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray


def token_batches(lengths: Sequence[int] | NDArray[np.int64], budget: int) -> Iterator[NDArray[np.int64]]:
    """Yield row numbers in batches of like length whose padded size is at most ``budget`` tokens (one row may
    exceed it), longest first.

    The longest batch comes first so that an engine allocates its largest buffers once.

    >>> [rows.tolist() for rows in token_batches([3, 9, 4, 3], budget=9)]
    [[1], [2, 0], [3]]
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    # stable: the same batches on every machine, whatever sort NumPy picks for it
    order = np.argsort(-sizes, kind="stable")
    start = 0
    while start < len(order):
        longest = max(int(sizes[order[start]]), 1)
        count = max(1, budget // longest)
        yield order[start : start + count]
        start += count


def scattered(keep: NDArray[np.bool_], rows: Sequence[Sequence[int]], fill: int) -> NDArray[np.int64]:
    """Return rows of numbers as one array, ``(B, T)``: theirs where ``keep`` says so, in order, and ``fill`` elsewhere.

    >>> scattered(np.array([[True, True], [False, True]]), [[5, 6], [7]], 0).tolist()
    [[5, 6], [0, 7]]
    """
    out = np.full(keep.shape, fill, dtype=np.int64)
    out[keep] = np.fromiter(itertools.chain.from_iterable(rows), dtype=np.int64)
    return out


def sorted_batches(lengths: NDArray[np.int64], budget: int) -> list[NDArray[np.int64]]:
    """Return every row once, longest first, in batches of at most ``budget`` padded tokens: for prediction."""
    return list(token_batches(lengths, budget))


def shuffled_batches(lengths: NDArray[np.int64], budget: int, seed: int, pool: int = 64) -> list[NDArray[np.int64]]:
    """Return every row once in random order, similar lengths together: for training.

    Rows are shuffled, cut into pools of about ``pool`` batches, sorted by length inside a pool, batched, and the batches shuffled.
    """
    generator = np.random.default_rng(seed)
    rows = generator.permutation(len(lengths))
    if len(rows) and lengths.min() == lengths.max():  # the blocks of a corpus: nothing to sort, and there may be millions
        each = max(1, budget // int(lengths[0]))
        # a batch of one row has no spread, which batch norms divide by: it joins the one before
        ends = [*range(each, len(rows) - 1, each), len(rows)] if each > 1 else list(range(1, len(rows) + 1))
        return [rows[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    # sorting a pool and not everything: little padding, and yet other neighbors in every epoch
    size = max(1, int(pool * budget / max(float(lengths.mean()), 1.0)))
    batches: list[NDArray[np.int64]] = []
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        batches += [part[batch] for batch in token_batches(lengths[part], budget)]
    return [batches[i] for i in generator.permutation(len(batches))]
