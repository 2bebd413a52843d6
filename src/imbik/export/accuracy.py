"""Quantization under a limit on quality: find the operators that hurt, put them back to float one by one, stop inside the floor.

What goes back to float costs bytes, and time with them. So operators go in the order of what they restore per byte, and one that makes the
artefact notably larger goes only for a difference that the rows of dev can show.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from imbik.jobs.progress import Progress
from imbik.runtime.predictor import Predictor
from imbik.tasks.intervals import paired_retention
from imbik.tasks.outputs import Outputs, numbers_of, take
from imbik.tasks.registry import task_of
from imbik.tasks.task import Asked, Decoded
from imbik.types import Examples

log = logging.getLogger(__name__)

_RANKED_ROWS = 256

_DEAR = 0.1
"""Growth of the artefact by one operator, as a share of its bytes, that a difference within the interval does not pay for."""

_SMALLEST = 0.01  # share of the bytes that every operator counts as: a bias that restores nothing must not win by its size


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
        reverted: operators put back to float, in the order in which that was done.
        record: ``min_retention``, ``metric``, ``rows``, ``reference`` and ``float`` (their quality), ``value`` (the quantized
            model's), ``kept`` (its share of the reference), ``before`` (the share without reverting), ``shortfall`` (0 inside the
            limit), ``damage`` (operator -> share of the squared error of the logits that it causes), ``bytes`` and ``bytes_before`` (of
            the artefact with and without what was reverted) and ``left`` (operator -> bytes that it would have added for a difference
            which the rows do not show). Of a reference whose quality is 0 or below there is no share: ``kept``, ``before`` and
            ``shortfall`` are None, and nothing is reverted.
    """

    reverted: tuple[str, ...]
    record: dict[str, Any]


class Trial(NamedTuple):
    """A quantized model with some operators in float, and the bytes of its artefact."""

    model: Predictor
    bytes: int


Build = Callable[[frozenset[str]], Trial]


def restore_accuracy(floor: AccuracyFloor, floats: Predictor, build: Build, operators: Sequence[str], progress: Progress) -> KeptAccuracy:
    """Revert operators until the model keeps what the floor asks.

    Operators are ranked by measured damage: each alone is put back to float, and what that takes off the mean squared error of the
    logits on dev counts, over the bytes that it adds. They are then reverted in that order, all before them staying reverted, and the
    task's metric decides. One that adds more than a tenth of the bytes is left out as long as the limit lies within the paired 95 %
    interval of what is kept, and taken back where the limit holds without it.

    Args:
        floor: what must be kept.
        floats: the model before quantization.
        build: gives the quantized model with some operators in float.
        operators: names that ``build`` takes.
        progress: where the work is shown.

    Returns:
        The first model inside the limit; if there is none, the best of those tried.
    """
    judge = _Judge(floor, floats)
    search = _Search(judge, build)
    damage: dict[str, float] = {}
    if search.plain.kept < floor.min_retention:
        with progress.track("operators that hurt", 2 * len(operators)) as bar:
            damage, growth = _ranked(search, operators, bar.advance)
            order = sorted(operators, key=lambda name: -damage[name] / growth[name] if name in damage else np.inf)
            search.revert(order, bar.advance)
            search.take_back(growth)
    best = search.best
    log.info("kept %.4f of %s, %d operators reverted, %d bytes", best.kept, floor.metric, len(search.reverted), best.bytes)
    record = judge.record(search.plain, best) | {"bytes": best.bytes, "bytes_before": search.plain.bytes, "left": search.left}
    return KeptAccuracy(search.reverted, record | {"damage": damage})


class _Search:
    """What was tried, and the best of it.

    Args:
        judge: says what a model keeps.
        build: gives models.
    """

    def __init__(self, judge: _Judge, build: Build) -> None:
        self.judge, self.build, self.began = judge, build, time.monotonic()
        self.whole = build(frozenset())
        self.plain = self.best = judge(self.whole)
        self.reverted: tuple[str, ...] = ()
        self.left: dict[str, int] = {}

    def spent(self, share: float) -> bool:
        """Return whether a share of the time is over."""
        return time.monotonic() - self.began > share * self.judge.floor.seconds

    def dear(self, growth: int) -> bool:
        """Return whether so many bytes more are notable."""
        return growth > _DEAR * self.plain.bytes

    def revert(self, order: Sequence[str], advance: Callable[..., None]) -> None:
        """Put operators back one by one until the limit holds."""
        now, current = self.plain, tuple[str, ...]()
        for name in order:
            found = self.judge(self.build(frozenset((*current, name))))
            advance(note=f"{found.kept:.1%} kept")
            if self.dear(found.bytes - now.bytes) and self.judge.unseen(now):
                self.left[name] = found.bytes - now.bytes
            else:
                now, current = found, (*current, name)
                if found.kept > self.best.kept:
                    self.best, self.reverted = found, current
            if self.best.kept >= self.judge.floor.min_retention or self.spent(1.0):
                break

    def take_back(self, growth: dict[str, float]) -> None:
        """Quantize again what is large and, with what came behind it, no longer needed to hold the limit."""
        limit = self.judge.floor.min_retention
        for name in sorted(self.reverted[:-1], key=lambda name: -growth.get(name, 0.0)):
            if self.best.kept < limit or growth.get(name, 0.0) <= _DEAR or self.spent(1.0):
                break
            fewer = tuple(other for other in self.reverted if other != name)
            found = self.judge(self.build(frozenset(fewer)))
            if found.kept >= limit:
                self.best, self.reverted = found, fewer


class _Judged(NamedTuple):
    """The share of the reference's quality that a model keeps, its quality, its bytes, and what it answers."""

    kept: float
    value: float
    bytes: int
    decoded: Decoded


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

    def __call__(self, trial: Trial) -> _Judged:
        decoded = self.task.decode(trial.model.scores(self.texts, self.pairs), self.asked)
        value = float(self.task.score(self.metric.name, decoded, self.targets))
        return _Judged(self._share(value, self.reference), value, trial.bytes, decoded)

    def unseen(self, found: _Judged) -> bool:
        """Return whether the limit lies within the paired 95 % interval of what a model keeps: its rows do not show a shortfall."""
        floats = self.task.decode(self.floats, self.asked)
        _, _, high = paired_retention(self.metric.name, found.decoded, floats, self.targets, self.task.name)
        return bool(high * self._share(self.own, self.reference) >= self.floor.min_retention)

    def error(self, model: Predictor) -> float:
        """Compute the mean squared difference of outputs from the float model's, on a part of the rows."""
        pairs = None if self.pairs is None else self.pairs[:_RANKED_ROWS]
        floats = take(self.floats, slice(_RANKED_ROWS))
        return float(np.mean((numbers_of(model.scores(self.texts[:_RANKED_ROWS], pairs)) - numbers_of(floats)) ** 2))

    def record(self, before: _Judged, best: _Judged) -> dict[str, Any]:
        undefined = np.isnan(best.kept)
        return {
            "min_retention": self.floor.min_retention,
            "metric": self.floor.metric,
            "rows": len(self.texts),
            "reference": self.reference,
            "float": self.own,
            "value": best.value,
            "kept": None if undefined else best.kept,
            "before": None if undefined else before.kept,
            "shortfall": None if undefined else max(0.0, self.floor.min_retention - best.kept),
        }

    def _quality(self, outputs: Outputs) -> float:
        return float(self.task.score(self.metric.name, self.task.decode(outputs, self.asked), self.targets))

    def _share(self, own: float, reference: float) -> float:
        """Return the share that is kept, NaN where the reference has nothing to keep a share of: it is below no limit."""
        kept = self.metric.kept(own, reference)
        return math.nan if kept is None else kept


def _ranked(search: _Search, operators: Sequence[str], advance: Callable[..., None]) -> tuple[dict[str, float], dict[str, float]]:
    """Operator -> share of the squared error that disappears when it alone is in float, and the share of the bytes that it then adds;
    those that half of the time did not reach are missing."""
    whole = search.judge.error(search.whole.model)
    damage, growth = {}, {}
    for name in operators:
        if search.spent(0.5):
            break
        trial = search.build(frozenset({name}))
        damage[name] = (whole - search.judge.error(trial.model)) / max(whole, 1e-30)
        growth[name] = max((trial.bytes - search.whole.bytes) / max(search.whole.bytes, 1), _SMALLEST)
        advance(note=name)
    return damage, growth
