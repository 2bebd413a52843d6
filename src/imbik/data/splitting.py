"""Splitting dev and test off train (seeded, stratified, no text on both sides), and finding texts that occur twice."""

from __future__ import annotations

import functools
import re
import string
import sys
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# ASCII punctuation becomes space, so that "top-up" is "top up" and not "topup".
_SPACED = bytes.maketrans(string.punctuation.encode(), b" " * len(string.punctuation))
SHARE = 0.1
MOST = {"dev": 2000, "test": 5000}


@functools.cache
def _marks() -> re.Pattern[str]:
    """Return a pattern of punctuation and space beyond ASCII. Vowel signs and emoji stay: they carry meaning."""
    marks = [c for c in map(chr, range(0x80, sys.maxunicode + 1)) if unicodedata.category(c)[0] in "PZ"]
    return re.compile("[" + "".join(map(re.escape, marks)) + "]+")


def keys_of(texts: Sequence[str], pairs: Sequence[str] | None = None) -> NDArray[np.int64]:
    """Return one number per row, equal for texts that differ only in case, punctuation and space, (N,) int64.

    Numbers hold within one process. Rows of nothing but punctuation get 0, which :func:`shared` leaves out.

    >>> a, b, c = keys_of(["Hello, World!", "hello world", "hello you"])
    >>> bool(a == b), bool(a == c)
    (True, False)
    """
    keys = _keys(texts)
    if pairs is None:
        return keys
    second = _keys(pairs)
    # overflow wraps and is meant to
    mixed = (keys * np.int64(1_000_003)) ^ second  # order matters: (a, b) is not (b, a)
    return np.where((keys == 0) & (second == 0), 0, np.where(mixed == 0, 1, mixed))


def _keys(texts: Sequence[str]) -> NDArray[np.int64]:
    if not texts:
        return np.empty(0, np.int64)
    joined = "\x00".join(texts).casefold()
    if not joined.isascii():
        joined = _marks().sub(" ", joined)
    # all texts in one string, parted by zero bytes (which no text may hold): each pass below runs
    # in C
    pieces = [b" ".join(piece.split()) for piece in joined.encode().translate(_SPACED).split(b"\x00")]
    # 0 means "no text": a hash that is 0 becomes 1
    return np.fromiter((hash(piece) or 1 if piece else 0 for piece in pieces), np.int64, len(pieces))


def shared(left: NDArray[np.int64], right: NDArray[np.int64]) -> int:
    """Return how many rows of ``right`` also occur in ``left``."""
    return int((np.isin(right, left) & (right != 0)).sum())


def _several(keys: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which rows hold a text that occurs more than once, (N,)."""
    ordered = np.sort(keys)
    repeated = np.unique(ordered[1:][(ordered[1:] == ordered[:-1]) & (ordered[1:] != 0)])
    if not len(repeated):
        return np.zeros(len(keys), bool)
    places = np.minimum(np.searchsorted(repeated, keys), len(repeated) - 1)
    return np.asarray(repeated[places] == keys)


def contradicting(keys: NDArray[np.int64], targets: NDArray[np.int64]) -> int:
    """Return how many different texts occur more than once with different labels."""
    several = _several(keys)
    keys, targets = keys[several], targets[several]
    order = np.lexsort((targets, keys))
    keys, targets = keys[order], targets[order]
    differs = (keys[1:] == keys[:-1]) & (targets[1:] != targets[:-1])
    return len(np.unique(keys[1:][differs]))


def split_groups(groups: NDArray[np.int64], seed: int, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows that stay and the rows that leave, both ascending: whole groups, about a tenth of the rows, at most ``most``.

    Args:
        groups: the group of each row, (N,), :meth:`imbik.tasks.task.Task.together`; at least two.
        seed: of the draw.
        most: rows that leave at most, unless a single group is larger.
    """
    wanted = min(max(round(SHARE * len(groups)), 1), most)
    names, sizes = np.unique(groups, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    # the first group always leaves and the last always stays: neither side may be empty
    total = np.cumsum(sizes[order])
    count = min(max(int(np.searchsorted(total, wanted, side="right")), 1), len(names) - 1)
    leaves = np.isin(groups, names[order[:count]])
    return np.flatnonzero(~leaves), np.flatnonzero(leaves)


def split_off(groups: NDArray[np.int64], keys: NDArray[np.int64], seed: int, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows that stay and the rows that leave, both ascending: a tenth leaves (at most ``most``), each group in proportion.

    A group keeps at least one row. Texts that occur more than once stay, so that no text is on both sides; only when
    they are most of the rows are they dealt as well.

    Args:
        groups: the group of each row, (N,), :meth:`imbik.tasks.task.Task.strata`.
        keys: of each row, :func:`keys_of`.
        seed: of the draw.
        most: rows that leave at most.
    """
    wanted = min(max(round(SHARE * len(groups)), 1), most)
    # a duplicate text could end on both sides, and dev would reward learning by heart
    free = ~_several(keys)
    if free.sum() < 2 * wanted:
        free = np.ones(len(groups), bool)
    generator = np.random.default_rng(seed)
    names, sizes = np.unique(groups, return_counts=True)
    exact = wanted * sizes / sizes.sum()
    # largest remainders (Hamilton): shares are rounded down, what is left goes to those cut most
    deal = np.minimum(np.floor(exact).astype(np.int64), sizes - 1)
    for i in np.argsort(-(exact - np.floor(exact)), kind="stable"):
        if deal.sum() < wanted and deal[i] < sizes[i] - 1:
            deal[i] += 1
    drawn = [generator.permutation(np.flatnonzero((groups == name) & free))[:count] for name, count in zip(names, deal, strict=True)]
    leaving = np.sort(np.concatenate(drawn)).astype(np.int64)
    stays = np.ones(len(groups), bool)
    stays[leaving] = False
    return np.flatnonzero(stays), leaving
