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
_NOTABLE = 0.01  # share of the rows that leave, from which on a group is not left out for the copies in it
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

    A group keeps at least one row. Texts that occur once leave first. Where a group that makes a hundredth of the rows has less than half
    of its share in them, texts that occur more than once leave with all their rows, so that no text is ever on both sides; more or less
    than the share may then leave.

    Args:
        groups: the group of each row, (N,), :meth:`imbik.tasks.task.Task.strata`.
        keys: of each row, :func:`keys_of`.
        seed: of the draw.
        most: rows that leave at most, whole texts aside.
    """
    wanted = min(max(round(SHARE * len(groups)), 1), most)
    several = _several(keys)
    generator = np.random.default_rng(seed)
    names, places, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    deal = _shares(sizes, wanted)
    drawn = [generator.permutation(np.flatnonzero((groups == name) & ~several))[:count] for name, count in zip(names, deal, strict=True)]
    leaves = np.zeros(len(groups), bool)
    leaves[np.concatenate(drawn)] = True
    short = [place for place, count in enumerate(deal) if 2 * len(drawn[place]) < count >= _NOTABLE * wanted]
    if short:
        twins = _Twins(keys, several, places.reshape(-1), sizes - np.array([len(rows) for rows in drawn], np.int64))
        for place in short:
            leaves[twins.draw(place, int(deal[place]) - len(drawn[place]), alone=not len(drawn[place]), generator=generator)] = True
    return np.flatnonzero(~leaves), np.flatnonzero(leaves)


def split_near(groups: NDArray[np.int64], near: NDArray[np.int64], seed: int, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows that stay and the rows that leave, both ascending: a tenth leaves (at most ``most``), each group in proportion, and
    rows that nearly repeat one another together.

    They are drawn in a random order, each time all rows that nearly repeat one another, where no group gives more than its share by that.
    So fewer than a tenth may leave; a group keeps at least one row.

    Args:
        groups: the group of each row, (N,), :meth:`imbik.tasks.task.Task.strata`.
        near: a number for each row, equal for rows that no cut may part, :func:`imbik.data.carving.near.near_groups`.
        seed: of the draw.
        most: rows that leave at most.
    """
    wanted = min(max(round(SHARE * len(groups)), 1), most)
    _, places, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    missing = _shares(sizes, wanted)
    rows = np.argsort(near, kind="stable")
    together = np.split(rows, np.flatnonzero(np.diff(near[rows])) + 1)
    leaves = np.zeros(len(groups), bool)
    for number in np.random.default_rng(seed).permutation(len(together)):
        given = np.bincount(places[together[number]], minlength=len(sizes))
        if (given <= missing).all():
            missing -= given
            leaves[together[number]] = True
            if not missing.any():
                break
    return np.flatnonzero(~leaves), np.flatnonzero(leaves)


def _shares(sizes: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
    """Return how many rows of each group leave, at most all but one: largest remainders (Hamilton)."""
    exact = wanted * sizes / sizes.sum()
    deal: NDArray[np.int64] = np.minimum(np.floor(exact).astype(np.int64), sizes - 1)
    # shares are rounded down; what is left goes to those cut most
    for i in np.argsort(-(exact - np.floor(exact)), kind="stable"):
        if deal.sum() < wanted and deal[i] < sizes[i] - 1:
            deal[i] += 1
    return deal


class _Twins:
    """Texts that occur more than once, each with all its rows.

    Args:
        keys: of each row.
        several: which rows hold such a text.
        places: the group of each row, from 0.
        left: rows of each group that stay so far; changed as texts are drawn.
    """

    def __init__(self, keys: NDArray[np.int64], several: NDArray[np.bool_], places: NDArray[np.int64], left: NDArray[np.int64]) -> None:
        self._places, self._left = places, left
        rows = np.flatnonzero(several)
        ordered = rows[np.argsort(keys[rows], kind="stable")]
        cuts = np.flatnonzero(np.diff(keys[ordered])) + 1
        # in the order of their first rows: keys differ from process to process
        self._texts = sorted(np.split(ordered, cuts), key=lambda some: int(some[0])) if len(rows) else []
        self._drawn = np.zeros(len(self._texts), bool)

    def draw(self, group: int, count: int, *, alone: bool, generator: np.random.Generator) -> NDArray[np.int64]:
        """Return the rows of texts that leave so that about ``count`` rows of a group do.

        Args:
            group: the group.
            count: rows.
            alone: whether no row of the group leaves otherwise: the first text then leaves however many rows it has.
            generator: of the draw.
        """
        mine = [place for place, rows in enumerate(self._texts) if not self._drawn[place] and self._places[rows[0]] == group]
        chosen: list[NDArray[np.int64]] = []
        missing = count
        for place in generator.permutation(np.array(mine, np.int64)):
            rows = self._texts[place]
            size = int((self._places[rows] == group).sum())
            too_much = size - missing > missing and not (alone and not chosen)
            after = self._left - np.bincount(self._places[rows], minlength=len(self._left))
            if missing <= 0 or too_much or (after[np.unique(self._places[rows])] < 1).any():
                continue
            self._left, self._drawn[place] = after, True
            chosen.append(rows)
            missing -= size
        return np.concatenate(chosen) if chosen else np.empty(0, np.int64)
