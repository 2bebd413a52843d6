"""Linear models over n-grams, computed by NumPy from one table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imbik.runtime.arrays.model import ArrayModel, Floats, Ids, register_arrays, summed

_LEAST = np.float32(1e-12)


@register_arrays("linear")
class Linear(ArrayModel):
    """Logits = Σ w_i / √(Σ idf_i²) + b over the n-grams i of a text, each counted once.

    Weights and squared idf stand in one table ``(F + 1, L + 1)``, so a text is the sum of its n-grams' rows and a division. Row 0
    stands for no n-gram and adds nothing to either sum.

    Args:
        weights: ``(F, L)``, each times its n-gram's inverse document frequency.
        idf: ``(F,)``.
        bias: ``(L,)``.
    """

    def __init__(self, weights: Floats, idf: NDArray[np.floating], bias: Floats) -> None:
        self.table = np.zeros((len(weights) + 1, weights.shape[1] + 1), np.float32)
        self.table[1:, :-1], self.table[1:, -1] = weights, idf.astype(np.float32) ** 2
        self.bias = bias.astype(np.float32)

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Linear:
        """Make the model from the arrays of a file."""
        return cls(arrays["weights"], arrays["idf"], arrays["bias"])

    @property
    def rows(self) -> int:
        """Rows of the table: one for each id."""
        return len(self.table)

    def logits(self, ids: Ids) -> Floats:
        """Return ``(B, L)`` of numbers of n-grams ``(B, T)``, filled up with 0."""
        sums = self.table.take(ids, axis=0).sum(axis=1)  # (B, L + 1)
        # a text without a known n-gram has norm 0 and sum 0: the bias alone answers
        logits: Floats = sums[:, :-1] / np.maximum(np.sqrt(sums[:, -1:]), _LEAST)
        logits += self.bias
        return logits

    def one(self, ids: list[int]) -> Floats:
        """Return ``(L,)`` of the numbers of one text's n-grams: the same in vectors, in half the time."""
        # a Python root and product of one number: ufuncs take ten times as long for it
        sums = summed(self.table, ids)
        logits: Floats = sums[:-1] * np.float32(1 / max(math.sqrt(sums[-1]), float(_LEAST)))
        logits += self.bias
        return logits
