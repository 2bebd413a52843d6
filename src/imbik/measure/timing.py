"""Interleaved timing of several candidates: every round gives each of them a turn, so that a noisy minute disturbs all alike."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from imbik.jobs.progress import Task
from imbik.measure.measurement import Latency, Throughput
from imbik.measure.process import Process
from imbik.measure.rows import said
from imbik.types import Examples

ROUNDS = 5
REQUESTS = 50
"""Single requests of one candidate in one round."""
BUDGETS = (512, 1024, 2048, 4096, 8192)
"""Tokens of a batch that are tried; each candidate is timed with the one that suits it."""
# seconds: a pass of the slowest candidate over the sample, which all candidates then share
_SLOWEST_PASS = 2.0
SAMPLE = 1024
"""Texts that are timed, at most, and texts that are read before them, at most."""
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
        first_sight: items per second where no text was read before, one a round.
        texts: texts of a pass.
        read_before: texts that were read before it.
        budget: tokens of a batch that suited it best.
        batch: mean texts of such a batch.
    """

    ms: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    first_sight: list[float] = field(default_factory=list)
    texts: int = 0
    read_before: int = 0
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
            first_sight_per_s=statistics.median(self.first_sight),
            texts=self.texts,
            read_before=self.read_before,
        )


@dataclass(frozen=True)
class Sample:
    """Texts to time with, as files for the workers.

    Attributes:
        rows: texts that are timed; ``count``: how many.
        before: other texts of the task, which a process has read before; ``read``: how many. None: there are none.
    """

    rows: Path
    count: int
    before: Path | None
    read: int

    @property
    def warm(self) -> str | None:
        """Where the texts stand that a process has read before."""
        return None if self.before is None else str(self.before)


def write_rows(path: Path, texts: Sequence[Any], pairs: Sequence[Any] | None) -> int:
    """Write texts for the workers, one JSON list a line; return how many."""
    with path.open("w", encoding="utf-8") as file:
        for index in range(len(texts)):
            row = [texts[index]] if pairs is None else [texts[index], pairs[index]]
            file.write(json.dumps([said(cell) for cell in row]) + "\n")
    return len(texts)


def write_sample(folder: Path, test: Examples, dev: Examples | None = None, most: int = SAMPLE, seed: int = 0) -> Sample:
    """Write a random sample of the test rows to time, and other rows of test and dev to read before; the same for every candidate.

    What is read before holds about as many rows as what is timed: test rows are shared out where there are too few others.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(test.texts))
    others = 0 if dev is None else len(dev.texts)
    count = max(1, min(most, len(order), (len(order) + others) // 2))
    rest = [_row(test, row) for row in order[count:]] + ([] if dev is None else [_row(dev, row) for row in range(others)])
    before = [rest[row] for row in random.permutation(len(rest))[:most]]
    for name, rows in (("sample.jsonl", [_row(test, row) for row in order[:count]]), ("before.jsonl", before)):
        texts = [text for text, _ in rows]
        write_rows(folder / name, texts, None if test.pairs is None else [str(pair) for _, pair in rows])
    return Sample(folder / "sample.jsonl", count, folder / "before.jsonl" if before else None, len(before))


def _row(examples: Examples, row: int) -> tuple[Any, Any]:
    return examples.texts[row], None if examples.pairs is None else examples.pairs[row]


def time_candidates(
    processes: Sequence[Process],
    sample: Sample,
    bar: Task,
    *,
    rounds: int = ROUNDS,
    deadline: float | None = None,
    budgets: Sequence[int] = BUDGETS,
) -> list[Timing]:
    """Measure latency and throughput of each process, in its order.

    Args:
        processes: started candidates.
        sample: the texts (:func:`write_sample`).
        bar: advanced once a round and candidate, and once for each warm-up.
        rounds: turns of each candidate.
        deadline: ``time.monotonic()`` after which no round begins, the third excepted.
        budgets: sizes of a batch that are tried, in tokens, or in rows for workers that read arrays.
    """
    sample = replace(sample, count=_sample_size(processes, sample, budgets[1]))
    timings = [Timing(texts=sample.count, read_before=sample.read) for _ in processes]
    for process, timing in zip(processes, timings, strict=True):
        timing.budget = _best_budget(process, sample, budgets)
        process.ask("warm_up")
        # thrown away: first requests of an engine still allocate and choose kernels
        process.ask("latency", rows=str(sample.rows), start=0, count=20, before=sample.warm)
        bar.advance(note=f"warm-up {process.candidate.id}")
    for number in range(rounds):
        # three rounds always: a median of fewer says nothing
        if number >= 3 and deadline is not None and time.monotonic() > deadline:
            break
        order = list(zip(processes, timings, strict=True))
        # every other round backwards: nobody is always timed behind the same, perhaps heating,
        # neighbor
        for process, timing in order if number % 2 == 0 else order[::-1]:
            _turn(process, timing, sample, number)
            bar.advance(note=process.candidate.id)
    return timings


def _turn(process: Process, timing: Timing, sample: Sample, number: int) -> None:
    single = process.ask("latency", rows=str(sample.rows), start=number * REQUESTS, count=REQUESTS, before=sample.warm)
    timing.ms += single["ms"]
    timing.tokens += single["tokens"]
    many = _pass(process, sample, timing.budget, _TURN)
    # of this round alone; the median of the rounds passes over one that was disturbed
    timing.rates.append(many["items"] / many["wall"])
    timing.cpu.append(1000 * many["cpu"] / many["items"])
    timing.batch = many["batch"]
    first = _pass(process, replace(sample, before=None), timing.budget, _TURN / 2)
    timing.first_sight.append(first["items"] / first["wall"])


def _pass(process: Process, sample: Sample, budget: int, seconds: float) -> dict[str, Any]:
    asked = {"rows": str(sample.rows), "count": sample.count, "before": sample.warm}
    return process.ask("throughput", budget=budget, seconds=seconds, **asked)


def _sample_size(processes: Sequence[Process], sample: Sample, budget: int) -> int:
    """Return as many texts as the slowest candidate predicts in two seconds, but at least 256."""
    few = replace(sample, count=min(128, sample.count))
    slowest = 0.0
    for process in processes:
        _pass(process, few, budget, 0.0)
        # the second of two: the first one warms up
        run = _pass(process, few, budget, 0.0)
        slowest = max(slowest, run["wall"] / run["items"])
    return min(sample.count, max(256, int(_SLOWEST_PASS / slowest)))


def _best_budget(process: Process, sample: Sample, budgets: Sequence[int]) -> int:
    """Return the token budget with the highest throughput; a larger one must be 3 % better than a smaller one."""
    best, fastest = budgets[0], 0.0
    for budget in budgets:
        run = _pass(process, sample, budget, _TURN / 2)
        rate = run["items"] / run["wall"]
        # differences below 3 % are noise here, and a smaller batch takes less memory
        if rate > fastest * 1.03:
            best, fastest = budget, rate
        if rate < fastest * 0.8:
            break  # it only gets slower from here
    return best
