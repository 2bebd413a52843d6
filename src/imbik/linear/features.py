"""Texts as sparse rows of n-grams: which n-grams count, and what each weighs (inverse document frequency)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imbik.runtime.ngrams import Cut, NgramTokenizer

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True)
class Vocabulary:
    """The n-grams of a model.

    Attributes:
        cut: how texts are cut.
        ngrams: F n-grams in their own order: neighbors begin alike, which packs well.
        idf: ``(F,)``: ln((1 + N) / (1 + n_i)) + 1 for an n-gram that occurs in n_i of N texts, as scikit-learn has it, in 16 bits.
    """

    cut: Cut
    ngrams: tuple[str, ...]
    idf: NDArray[np.float32]

    @classmethod
    def of(cls, texts: Sequence[str], cut: Cut, *, least: int = 1, most: int = 400_000) -> Vocabulary:
        """Return the n-grams that occur in texts.

        Args:
            texts: what is learned from.
            cut: how texts are cut.
            least: an n-gram of fewer texts is left out.
            most: so many n-grams at most, those of the most texts.
        """
        counts = Counter[str]()
        for text in texts:
            counts.update(cut.ngrams(text))
        # the n-gram itself last: equal counts would otherwise stand in the order of a set, which differs from run to run
        frequent = sorted((ngram for ngram, count in counts.items() if count >= least), key=lambda ngram: (-counts[ngram], ngram))
        chosen = sorted(frequent[:most])
        number = np.array([counts[ngram] for ngram in chosen], dtype=np.float64)
        idf = np.log((1 + len(texts)) / (1 + number)) + 1
        # as it is stored: half the bytes, and the model that is judged is the one that is shipped
        return cls(cut, tuple(chosen), idf.astype(np.float16).astype(np.float32))

    def take(self, rows: NDArray[np.int64]) -> Vocabulary:
        """Return the vocabulary of some n-grams, weights unchanged."""
        return Vocabulary(self.cut, tuple(self.ngrams[row] for row in rows), self.idf[rows])

    def matrix(self, texts: Sequence[str]) -> csr_array:
        """Return ``(N, F)``: the idf of every n-gram that a text has, over the text's norm; empty texts are rows of zeros."""
        from scipy.sparse import csr_array

        rows = NgramTokenizer(self.cut, self.ngrams).ids(texts)
        known = [[number - 1 for number in row if number] for row in rows]
        ends = np.concatenate([[0], np.cumsum([len(row) for row in known])]).astype(np.int32)
        columns = np.fromiter((column for row in known for column in sorted(row)), dtype=np.int32, count=int(ends[-1]))
        values = self.idf[columns]
        owner = np.repeat(np.arange(len(texts)), np.diff(ends))
        norms = np.sqrt(np.bincount(owner, weights=values.astype(np.float64) ** 2, minlength=len(texts)))
        values = (values / np.maximum(norms, 1e-12)[owner]).astype(np.float32)
        return csr_array((values, columns, ends), shape=(len(texts), len(self.ngrams)))
