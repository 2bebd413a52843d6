"""A first look at every artefact as soon as it is made: what it keeps on dev, a request's time, its bytes, and the front so far.

It tells a user which artefact may be used while the others are being made; results hold what is measured of all of them at the end.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imbik.runtime.manifest import read_artefact
from imbik.runtime.predictor import load_artefact
from imbik.tasks.registry import task_of
from imbik.types import Splits

logger = logging.getLogger(__name__)

_REQUESTS, _SECONDS = 60, 0.5
"""Single requests of a first look, at most, and how long they may take."""


@dataclass(frozen=True)
class Look:
    """What a first look at an artefact shows.

    Attributes:
        id: ``recipe/engine``.
        quality: on dev.
        merit: the same such that more is better.
        kept: share of the teacher's quality; None where the teacher has none of which one could keep a share.
        ms: median of some single requests in this process.
        bytes: all that is shipped.
    """

    id: str
    quality: float
    merit: float
    kept: float | None
    ms: float
    bytes: int

    def beats(self, other: Look) -> bool:
        """Return whether it is nowhere worse and somewhere better.

        >>> one = Look("a", 0.99, 0.99, 1.0, ms=0.1, bytes=10)
        >>> one.beats(Look("b", 0.98, 0.98, 0.9, ms=0.1, bytes=10)), one.beats(Look("b", 0.98, 0.98, 0.9, ms=0.1, bytes=9))
        (True, False)
        """
        own, others = (-self.merit, self.ms, self.bytes), (-other.merit, other.ms, other.bytes)
        return own != others and all(one <= two for one, two in zip(own, others, strict=True))


class Front:
    """The candidates seen so far that no other one beats in quality, time and bytes at once.

    Args:
        splits: dev is asked.
        reference: the teacher's quality on dev.
        least: share of it that makes a candidate usable.
        threads: of every engine.
        say: takes one line for the user.
    """

    def __init__(self, splits: Splits, reference: float, least: float, threads: int | None, say: Callable[[str], None]) -> None:
        self.splits, self.reference, self.least, self.threads, self.say = splits, reference, least, threads, say
        self.seen: list[Look] = []
        self.usable = False

    def add(self, name: str, artefacts: Mapping[str, Path]) -> None:
        """Look at the artefacts of a candidate and say what each shows; one that cannot be looked at is left to the measurement."""
        for engine, folder in artefacts.items():
            try:
                look = self._look(f"{name}/{engine}", folder)
            except Exception as error:
                logger.info("no first look at %s/%s: %s", name, engine, error)
                continue
            place = "" if any(other.beats(look) for other in self.seen) else ", on the front"
            self.seen.append(look)
            if look.kept is None:
                found = f"{self.splits.metric} {look.quality:.4f} on dev, the teacher {self.reference:.4f}"
                self.say(f"  {look.id}: {found}, {look.ms:.3f} ms a request, {look.bytes / 1e6:.2f} MB{place}")
                continue
            self.say(f"  {look.id}: keeps {look.kept:.1%} on dev, {look.ms:.3f} ms a request, {look.bytes / 1e6:.2f} MB{place}")
            if look.kept >= self.least and not self.usable:
                self.usable = True
                self.say(f"  the first that keeps {self.least:.0%}; it may be used while the others are made: {folder}")

    def _look(self, identifier: str, folder: Path) -> Look:
        dev, task = self.splits.dev, task_of(self.splits.task)
        model = load_artefact(folder, threads=self.threads)
        value = float(task.score(self.splits.metric, model.predict(dev.texts, dev.pairs), np.asarray(dev.targets)))
        times = []
        end = time.perf_counter() + _SECONDS
        for row in range(min(_REQUESTS, len(dev.texts))):
            began = time.perf_counter()
            model.predict(dev.texts[row : row + 1], None if dev.pairs is None else dev.pairs[row : row + 1])
            times.append(1000 * (time.perf_counter() - began))
            if time.perf_counter() > end:
                break
        metric = task.metric(self.splits.metric)
        kept, ms = metric.kept(value, self.reference), statistics.median(times)
        return Look(identifier, value, metric.merit(value), kept, ms, read_artefact(folder).bytes)
