"""Quantization under a limit on quality: find the operators that hurt, put them back to float one by one, stop inside the floor."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from imbik.jobs.progress import Progress
from imbik.runtime.predictor import Predictor
from imbik.tasks.outputs import Outputs, numbers_of, take
from imbik.tasks.registry import task_of
from imbik.tasks.task import Asked
from imbik.types import Examples

log = logging.getLogger(__name__)

_RANKED_ROWS = 256


@dataclass(frozen=True)
class AccuracyFloor:
    """Quality that a quantized model must keep.

    Attributes:
        dev: labelled rows that decide.
        metric: name of one of the task's.
        min_retention: share of the reference's quality. The reference is the teacher where the float model itself keeps that share
            of the teacher, else the float model.
        teacher: the teacher's quality on ``dev``; None: the float model is the reference.
        rows: at most so many rows of dev decide.
        seconds: no further operator is tried after this time.
    """

    dev: Examples
    metric: str
    min_retention: float
    teacher: float | None = None
    rows: int = 2000
    seconds: float = 240.0


@dataclass(frozen=True)
class KeptAccuracy:
    """The best model found, and what it keeps.

    Attributes:
        reverted: operators put back to float, the most harmful first.
        record: ``min_retention``, ``metric``, ``rows``, ``reference`` and ``float`` (their quality), ``value`` (the quantized
            model's), ``kept`` (its share of the reference), ``before`` (the share without reverting), ``shortfall`` (0 inside the
            limit) and ``damage`` (operator -> share of the squared error of the logits that it causes).
    """

    reverted: tuple[str, ...]
    record: dict[str, Any]


Build = Callable[[frozenset[str]], Predictor]


def restore_accuracy(floor: AccuracyFloor, floats: Predictor, build: Build, operators: Sequence[str], progress: Progress) -> KeptAccuracy:
    """Revert operators until the model keeps what the floor asks.

    Operators are ranked by measured damage: each alone is put back to float, and what that takes off the mean squared error of the
    logits on dev counts. They are then reverted in that order, all before them staying reverted, and the task's metric decides.

    Args:
        floor: what must be kept.
        floats: the model before quantization.
        build: gives the quantized model with some operators in float.
        operators: names that ``build`` takes.
        progress: where the work is shown.

    Returns:
        The first model inside the limit; if there is none, the best of those tried.
    """
    began, judge = time.monotonic(), _Judge(floor, floats)
    plain = judge(build(frozenset()))
    best: tuple[_Judged, tuple[str, ...]] = (plain, ())
    damage: dict[str, float] = {}
    if plain.kept < floor.min_retention:
        with progress.track("operators that hurt", 2 * len(operators)) as bar:

            def spent(share: float) -> bool:
                return time.monotonic() - began > share * floor.seconds

            damage = _ranked(judge, build, operators, lambda: spent(0.5), bar.advance)
            order = sorted(operators, key=lambda name: -damage.get(name, -np.inf))
            for count in range(1, len(order) + 1):
                found = judge(build(frozenset(order[:count])))
                bar.advance(note=f"{found.kept:.1%} kept")
                best = max(best, (found, tuple(order[:count])), key=lambda pair: pair[0].kept)
                if found.kept >= floor.min_retention or spent(1.0):
                    break
    log.info("kept %.4f of %s, %d operators reverted", best[0].kept, floor.metric, len(best[1]))
    return KeptAccuracy(best[1], judge.record(plain, best[0]) | {"damage": damage})


class _Judged(NamedTuple):
    """The share of the reference's quality that a model keeps, and its quality."""

    kept: float
    value: float


class _Judge:
    """Share of the reference's quality that a model keeps on dev."""

    def __init__(self, floor: AccuracyFloor, floats: Predictor) -> None:
        self.floor = floor
        count = min(floor.rows, len(floor.dev.texts))
        rows = np.sort(np.random.default_rng(0).permutation(len(floor.dev.texts))[:count]).tolist()
        self.texts = [floor.dev.texts[row] for row in rows]
        self.pairs = None if floor.dev.pairs is None else [floor.dev.pairs[row] for row in rows]
        self.targets = np.asarray(floor.dev.targets)[rows]
        self.task = task_of(floats.task)
        self.metric = self.task.metric(floor.metric)
        self.asked = Asked(floats.labels, self.texts, self.pairs)
        self.floats = floats.scores(self.texts, self.pairs)
        self.own = self._quality(self.floats)
        reached = floor.teacher is not None and self._share(self.own, floor.teacher) >= floor.min_retention
        self.reference = floor.teacher if reached and floor.teacher is not None else self.own

    def __call__(self, model: Predictor) -> _Judged:
        value = self._quality(model.scores(self.texts, self.pairs))
        return _Judged(self._share(value, self.reference), value)

    def error(self, model: Predictor) -> float:
        """Compute the mean squared difference of outputs from the float model's, on a part of the rows."""
        pairs = None if self.pairs is None else self.pairs[:_RANKED_ROWS]
        floats = take(self.floats, slice(_RANKED_ROWS))
        return float(np.mean((numbers_of(model.scores(self.texts[:_RANKED_ROWS], pairs)) - numbers_of(floats)) ** 2))

    def record(self, before: _Judged, best: _Judged) -> dict[str, Any]:
        return {
            "min_retention": self.floor.min_retention,
            "metric": self.floor.metric,
            "rows": len(self.texts),
            "reference": self.reference,
            "float": self.own,
            "value": best.value,
            "kept": best.kept,
            "before": before.kept,
            "shortfall": max(0.0, self.floor.min_retention - best.kept),
        }

    def _quality(self, outputs: Outputs) -> float:
        return float(self.task.score(self.metric.name, self.task.decode(outputs, self.asked), self.targets))

    def _share(self, own: float, reference: float) -> float:
        return self.metric.kept(own, reference)


def _ranked(
    judge: _Judge, build: Build, operators: Sequence[str], spent: Callable[[], bool], advance: Callable[..., None]
) -> dict[str, float]:
    """Operator -> share of the squared error that disappears when it alone is in float; those that time did not reach are missing."""
    whole = judge.error(build(frozenset()))
    damage = {}
    for name in operators:
        if spent():
            break
        damage[name] = (whole - judge.error(build(frozenset({name})))) / max(whole, 1e-30)
        advance(note=name)
    return damage
