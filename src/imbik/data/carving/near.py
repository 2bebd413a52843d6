"""Rows whose texts nearly repeat one another: fragments of one sentence, one question in two wordings.

Where dev is carved from train, such rows must be on one side: a model that has read a sentence answers its fragments by heart, and
dev would promise what test does not hold.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

CONTAINED = 0.7
"""Share of a text's n-grams that stand in another one, from which on it nearly repeats it."""

MOST_ROWS = 300_000
"""More rows than this are not compared: what is kept of every text would no longer be small."""

_LONGEST = 3  # words of an n-gram
_MOST_OWNERS = 8  # an n-gram of more groups than this tells none of them

# letters of scripts that are written without spaces count as words
_WORD = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\W_]+")


def near_groups(texts: Iterable[str], pairs: Iterable[str] | None = None) -> NDArray[np.int64]:
    """Return a number for each row, ``(N,)``, equal for rows that nearly repeat one another: the first row of their group.

    Texts are read from the longest to the shortest. A text of which :data:`CONTAINED` of the n-grams stand in a longer text that leads
    a group joins that group, that of the largest share first; any other leads a group of its own. A text joins by its leader alone and
    never by another member, so that groups do not run together. Compared are the different n-grams of three words, in texts of fewer
    words the text as a whole; case and punctuation do not count. An n-gram that more than eight groups have tells none of them.
    Broder's containment (1997, doi 10.1109/SEQUEN.1997.666900), exact and not sampled; the work grows with the number of words.

    Args:
        texts: N texts.
        pairs: the second text of each row: both count as one text.

    >>> near_groups(["a truly lovely film about us", "lovely film about us", "what a bore", "Truly lovely, film about!"]).tolist()
    [0, 0, 2, 0]
    """
    rows = [_words(*row) for row in zip(texts, repeat("") if pairs is None else pairs, strict=pairs is not None)]
    groups = np.arange(len(rows), dtype=np.int64)
    owners: dict[int, list[int]] = {}
    # longest first; of texts of one length the first row leads
    for row in sorted(range(len(rows)), key=lambda number: (-len(rows[number]), number)):
        words = rows[row]
        if not words:
            continue
        leader = _leader(words, owners)
        if leader is not None:
            groups[row] = leader
            continue
        for ngram in _ngrams(words, range(1, _LONGEST + 1)):
            known = owners.setdefault(ngram, [])
            if len(known) <= _MOST_OWNERS:
                known.append(row)
    return _by_first_row(groups)


def _words(text: str, pair: str) -> tuple[str, ...]:
    found = _WORD.findall(text.casefold())
    return tuple(found) if not pair else (*found, "\x00", *_WORD.findall(pair.casefold()))


def _ngrams(words: Sequence[str], lengths: Iterable[int]) -> set[int]:
    """Return the different n-grams of these lengths, as numbers that hold within one process."""
    return {hash(tuple(words[start : start + length])) for length in lengths for start in range(len(words) - length + 1)}


def _leader(words: Sequence[str], owners: dict[int, list[int]]) -> int | None:
    """Return the row that leads the group of a text; None: no group holds it."""
    ngrams = _ngrams(words, (min(_LONGEST, len(words)),))
    shares: Counter[int] = Counter()
    for ngram in ngrams:
        found = owners.get(ngram, ())
        if len(found) <= _MOST_OWNERS:
            shares.update(found)
    if not shares:
        return None
    # the lowest row of equals: the order of a set of numbers differs from process to process
    row, share = min(shares.items(), key=lambda item: (-item[1], item[0]))
    return row if share >= CONTAINED * len(ngrams) else None


def _by_first_row(leaders: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the lowest row of each group in the place of the row that leads it."""
    first = np.full(len(leaders), len(leaders), np.int64)
    np.minimum.at(first, leaders, np.arange(len(leaders), dtype=np.int64))
    return np.asarray(first[leaders])
