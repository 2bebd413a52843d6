"""A linear model over n-grams, pruned and in eight bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imbik.linear.features import Vocabulary
from imbik.runtime.ngrams import Cut

Floats = NDArray[np.float32]

TOP = 127
"""Largest integer of a stored weight."""


Settings = dict[str, str | int | float]


def cut_settings(cut: Cut) -> Settings:
    """Return how texts are cut, for the record.

    >>> cut_settings(Cut(2, (3, 5)))
    {'words': 2, 'characters': '3-5'}
    """
    return {"words": cut.words, "characters": "-".join(map(str, cut.characters)) if cut.characters else "none"}


@dataclass(frozen=True)
class LinearModel:
    """Logits = tf-idf · W + b.

    Attributes:
        vocabulary: its F n-grams.
        weights: ``(F, L)``.
        bias: ``(L,)``.
        settings: what was chosen while it was trained, for the record.
        exclusive: whether a text has one label: then logits may all be raised by the same number.
    """

    vocabulary: Vocabulary
    weights: Floats
    bias: Floats
    settings: Mapping[str, str | int | float]
    exclusive: bool = True

    def scores(self, texts: Sequence[str]) -> Floats:
        """Return logits ``(N, L)`` of texts."""
        return np.asarray(self.vocabulary.matrix(texts) @ self.weights + self.bias, np.float32)

    def rows(self) -> tuple[NDArray[np.int8], Floats]:
        """Return what is stored: integers ``(F, L)`` and scales ``(F,)`` of the weights, each times its n-gram's idf."""
        weights = self.weights * self.vocabulary.idf[:, None]
        scale = np.abs(weights).max(axis=1, initial=0.0) / np.float32(TOP)
        scale = np.where(scale > 0, scale, np.float32(1.0)).astype(np.float32)
        return np.rint(weights / scale[:, None]).astype(np.int8), scale

    def stored(self) -> LinearModel:
        """Return the model with the weights that its stored integers stand for."""
        rows, scale = self.rows()
        return replace(self, weights=(rows * scale[:, None] / self.vocabulary.idf[:, None]).astype(np.float32))

    def pruned(self, share: float) -> LinearModel:
        """Return the model with that share of its weights, those that can add most to a logit; n-grams with none left are forgotten.

        With more than two labels, what an n-gram adds to most of them is taken off all of them first: probabilities stay the same, and
        an n-gram that speaks for one label has one weight.
        """
        weights = self.weights * self.vocabulary.idf[:, None]
        if weights.shape[1] > 2 and self.exclusive:
            weights = weights - np.median(weights, axis=1, keepdims=True)
        least = np.quantile(np.abs(weights), 1 - share)
        weights = np.where(np.abs(weights) > least, weights, np.float32(0.0)).astype(np.float32)
        kept = np.flatnonzero(weights.any(axis=1))
        vocabulary = self.vocabulary.take(kept)
        return replace(self, vocabulary=vocabulary, weights=weights[kept] / vocabulary.idf[:, None])

    def mixed(self, weights: Floats, bias: Floats, share: float) -> LinearModel:
        """Return the model whose logits are (1 - share) times its own and ``share`` times those of other weights of the same n-grams."""
        own, other = np.float32(1 - share), np.float32(share)
        return replace(self, weights=own * self.weights + other * weights, bias=own * self.bias + other * bias)

    def scaled(self, factor: float) -> LinearModel:
        """Return the model with its logits times a factor: the same labels with other probabilities."""
        return replace(self, weights=self.weights * np.float32(factor), bias=self.bias * np.float32(factor))
