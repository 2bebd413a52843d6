"""Artefacts timed in turn: single requests, and texts in batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from imbik.jobs.progress import Progress
from imbik.runtime.predictor import Predictor
from imbik.training.probes import sample
from imbik.types import Examples

_ALONE = 24
_ROUNDS = 15
_TOGETHER = 256
_PASSES = 7


def time_one_by_one(predictors: Sequence[Predictor], texts: Examples, progress: Progress) -> list[float]:
    """Return the milliseconds of a single request for each predictor: of each text the median of its rounds, of these the median."""
    chosen = sample(texts, _ALONE, 0)
    rows = [([text], None if chosen.pairs is None else [chosen.pairs[row]]) for row, text in enumerate(chosen.texts)]
    calls = [[lambda own=own, row=row: own.scores(*row) for own in predictors] for row in rows]  # type: ignore[misc]
    seconds = _in_turn(calls, _ROUNDS, progress)
    return [1000 * float(np.median(own)) for own in np.median(seconds, 0).T]


def time_in_batches(predictors: Sequence[Predictor], texts: Examples, progress: Progress) -> list[float]:
    """Return the milliseconds of a text in batches for each predictor: the median of its passes."""
    chosen = sample(texts, _TOGETHER, 1)
    calls = [[lambda own=own: own.scores(chosen.texts, chosen.pairs) for own in predictors]]  # type: ignore[misc]
    seconds = _in_turn(calls, _PASSES, progress)
    return [1000 * float(own) / len(chosen.texts) for own in np.median(seconds, 0)[0]]


def _in_turn(calls: Sequence[Sequence[Callable[[], object]]], rounds: int, progress: Progress) -> np.ndarray:
    """Time calls, ``(N, P)``; return seconds ``(rounds, N, P)``."""
    seconds = np.empty((rounds + 1, len(calls), len(calls[0])))
    with progress.track("timing the artefacts", rounds) as bar:
        for round_ in range(rounds + 1):
            # all predictors in turn: what slows the machine slows all of them
            for row, own in enumerate(calls):
                for place, call in enumerate(own):
                    began = time.perf_counter()
                    call()
                    seconds[round_, row, place] = time.perf_counter() - began
            bar.advance(int(round_ > 0))
    # the first round warms up
    return seconds[1:]
