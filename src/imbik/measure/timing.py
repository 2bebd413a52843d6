"""Interleaved timing of several candidates: every round gives each of them a turn, so that a noisy minute disturbs all alike."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from imbik.jobs.progress import Task
from imbik.measure.measurement import Latency, Throughput
from imbik.measure.process import Process
from imbik.types import Examples

ROUNDS = 5
REQUESTS = 50
"""Single requests of one candidate in one round."""
BUDGETS = (512, 1024, 2048, 4096, 8192)
"""Tokens of a batch that are tried; each candidate is timed with the one that suits it."""
# seconds: a pass of the slowest candidate over the sample, which all candidates then share
_SLOWEST_PASS = 2.0
# seconds of batches in a turn: short, so that a disturbance hits several candidates and not one
_TURN = 0.6


@dataclass
class Timing:
    """What was timed of one candidate.

    Attributes:
        ms: milliseconds of every single request, in order.
        tokens: their lengths.
        rates: items per second, one a round.
        cpu: processor seconds per 1,000 items, one a round.
        budget: tokens of a batch that suited it best.
        batch: mean texts of such a batch.
    """

    ms: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    budget: int = BUDGETS[1]
    batch: float = 0.0

    def latency(self, length_multiple: int | None) -> Latency:
        """Return the latency of single requests; lengths are padded to multiples of ``length_multiple``."""
        p50, p95, p99 = (float(np.percentile(self.ms, q)) for q in (50, 95, 99))
        return Latency(
            p50=p50,
            p95=p95,
            p99=p99,
            mean=statistics.fmean(self.ms),
            batch=1,
            tokens=statistics.fmean(self.tokens),
            requests=len(self.ms),
            length_multiple=length_multiple,
        )

    def throughput(self) -> Throughput:
        """Return the throughput in batches: the median of the rounds."""
        return Throughput(
            items_per_s=statistics.median(self.rates),
            batch=round(self.batch, 1),
            batch_tokens=self.budget,
            rounds=tuple(round(rate, 2) for rate in self.rates),
        )


def write_rows(path: Path, texts: Sequence[str], pairs: Sequence[str] | None) -> int:
    """Write texts for the workers, one JSON list a line; return how many."""
    with path.open("w", encoding="utf-8") as file:
        for index in range(len(texts)):
            row = [texts[index]] if pairs is None else [texts[index], pairs[index]]
            file.write(json.dumps(row) + "\n")
    return len(texts)


def write_sample(path: Path, examples: Examples, most: int = 1024, seed: int = 0) -> int:
    """Write a random sample of the rows, the same for every candidate; return how many."""
    rows = np.random.default_rng(seed).permutation(len(examples.texts))[:most]
    texts = [examples.texts[int(row)] for row in rows]
    return write_rows(path, texts, None if examples.pairs is None else [examples.pairs[int(row)] for row in rows])


def time_candidates(
    processes: Sequence[Process], rows: Path, count: int, bar: Task, *, rounds: int = ROUNDS, deadline: float | None = None
) -> list[Timing]:
    """Measure latency and throughput of each process, in its order.

    Args:
        processes: started candidates.
        rows: the sample of texts (:func:`write_sample`).
        count: how many it holds.
        bar: advanced once a round and candidate, and once for each warm-up.
        rounds: turns of each candidate.
        deadline: ``time.monotonic()`` after which no round begins, the third excepted.
    """
    timings = [Timing() for _ in processes]
    count = _sample_size(processes, rows, count)
    for process, timing in zip(processes, timings, strict=True):
        timing.budget = _best_budget(process, rows, count)
        process.ask("warm_up")
        # thrown away: first requests of an engine still allocate and choose kernels
        process.ask("latency", rows=str(rows), start=0, count=20)
        bar.advance(note=f"warm-up {process.candidate.id}")
    for number in range(rounds):
        # three rounds always: a median of fewer says nothing
        if number >= 3 and deadline is not None and time.monotonic() > deadline:
            break
        order = list(zip(processes, timings, strict=True))
        # every other round backwards: nobody is always timed behind the same, perhaps heating,
        # neighbor
        for process, timing in order if number % 2 == 0 else order[::-1]:
            _turn(process, timing, rows, number, count)
            bar.advance(note=process.candidate.id)
    return timings


def _turn(process: Process, timing: Timing, rows: Path, number: int, count: int) -> None:
    single = process.ask("latency", rows=str(rows), start=number * REQUESTS, count=REQUESTS)
    timing.ms += single["ms"]
    timing.tokens += single["tokens"]
    many = process.ask("throughput", rows=str(rows), count=count, budget=timing.budget, seconds=_TURN)
    # of this round alone; the median of the rounds passes over one that was disturbed
    timing.rates.append(many["items"] / many["wall"])
    timing.cpu.append(1000 * many["cpu"] / many["items"])
    timing.batch = many["batch"]


def _sample_size(processes: Sequence[Process], rows: Path, count: int) -> int:
    """Return as many texts as the slowest candidate predicts in two seconds, but at least 256."""
    few = min(128, count)
    slowest = 0.0
    for process in processes:
        process.ask("throughput", rows=str(rows), count=few, budget=BUDGETS[1], seconds=0.0)
        # the second of two: the first one warms up
        run = process.ask("throughput", rows=str(rows), count=few, budget=BUDGETS[1], seconds=0.0)
        slowest = max(slowest, run["wall"] / run["items"])
    return min(count, max(256, int(_SLOWEST_PASS / slowest)))


def _best_budget(process: Process, rows: Path, count: int) -> int:
    """Return the token budget with the highest throughput; a larger one must be 3 % better than a smaller one."""
    best, fastest = BUDGETS[0], 0.0
    for budget in BUDGETS:
        run = process.ask("throughput", rows=str(rows), count=count, budget=budget, seconds=_TURN / 2)
        rate = run["items"] / run["wall"]
        # differences below 3 % are noise here, and a smaller batch takes less memory
        if rate > fastest * 1.03:
            best, fastest = budget, rate
        if rate < fastest * 0.8:
            break  # it only gets slower from here
    return best
