"""Timing on made workers whose clock only their texts move: figures by NumPy, turns in order, budgets by their rule."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from imbik.measure import timing
from imbik.measure.timing import BUDGETS, Sample, Timing, time_candidates, write_sample
from imbik.types import Examples

MS = np.random.default_rng(0).gamma(2.0, 3.0, 257).tolist()


def test_latency_is_the_percentiles_of_all_requests():
    found = Timing(ms=MS, tokens=[3, 4, 8] * 85 + [2, 2]).latency(16)
    assert (found.p50, found.p95, found.p99) == pytest.approx(tuple(np.percentile(MS, (50, 95, 99))))
    assert found.mean == pytest.approx(np.mean(MS)) and found.tokens == pytest.approx(np.mean([3, 4, 8] * 85 + [2, 2]))
    assert (found.batch, found.requests, found.length_multiple) == (1, 257, 16)


def test_throughput_is_the_median_of_the_rounds():
    known = {"budget": 2048, "batch": 23.456, "first_sight": [80.0, 90.0, 7.0], "texts": 500, "read_before": 400}
    found = Timing(rates=[100.0, 10.004, 103.0], **known).throughput()
    assert (found.first_sight_per_s, found.texts, found.read_before) == (80.0, 500, 400)
    assert (found.items_per_s, found.batch, found.batch_tokens, found.rounds) == (100.0, 23.5, 2048, (100.0, 10.0, 103.0))


def test_the_sample_is_drawn_from_all_rows_the_same_for_everyone(tmp_path: Path):
    examples = Examples([f"text {i}" for i in range(50)], [f"pair {i}" for i in range(50)], None, "")
    drawn = []
    for name in "ab":
        (tmp_path / name).mkdir()
        sample = write_sample(tmp_path / name, examples, most=20)
        assert (sample.count, sample.read) == (20, 20) and sample.before is not None
        drawn.append([[json.loads(line) for line in file.read_text("utf-8").splitlines()] for file in (sample.rows, sample.before)])
    assert drawn[0] == drawn[1]
    timed, before = ([int(text.split()[1]) for text, _ in rows] for rows in drawn[0])
    assert len(set(timed)) == len(set(before)) == 20 and not set(timed) & set(before), "what is timed was never read"
    assert max(timed) > 25 and timed != sorted(timed) and before != sorted(before)
    assert all(text.split()[1] == pair.split()[1] for rows in drawn[0] for text, pair in rows)
    single = write_sample(tmp_path, Examples(examples.texts, None, None, ""))
    assert len(json.loads(single.rows.read_text("utf-8").splitlines()[0])) == 1


@pytest.mark.parametrize(
    ("test", "dev", "timed", "read"),
    [
        (5000, 0, 1024, 1024),
        (1100, 2000, 1024, 1024),
        (100, 60, 80, 80),
        (100, None, 50, 50),
        (20, 500, 20, 500),
        (2, None, 1, 1),
        (1, None, 1, 0),
    ],
)
def test_as_many_texts_are_read_before_as_are_timed_where_there_are(tmp_path: Path, test: int, dev: int | None, timed: int, read: int):
    more = None if dev is None else Examples([f"dev {row}" for row in range(dev)], None, None, "")
    sample = write_sample(tmp_path, Examples([f"test {row}" for row in range(test)], None, None, ""), more)
    assert (sample.count, sample.read) == (timed, read) and (sample.before is None) == (read == 0) == (sample.warm is None)


class Made:
    """A worker that takes so many seconds for a text at each budget, and notes what it is asked."""

    def __init__(self, name: str, seconds: dict[int, float], log: list[tuple[str, str]]) -> None:
        self.candidate, self.seconds, self.log = SimpleNamespace(id=name), seconds, log
        self.asked: list[dict[str, Any]] = []

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        self.log.append((self.candidate.id, do))
        self.asked.append({"do": do} | fields)
        if do == "throughput":
            # at first sight everything takes a quarter longer
            wall = self.seconds.get(fields["budget"], 0.01) * fields["count"] * (1 if fields["before"] == "before" else 1.25)
            return {"items": 2 * fields["count"], "wall": 2 * wall, "cpu": wall, "batch": 7.0}
        if do == "latency":
            # a request is named by its number, so that their order can be read
            return {"ms": [float(fields["start"] + i) for i in range(fields["count"])], "tokens": [5] * fields["count"]}
        return {}


class Bar:
    def __init__(self) -> None:
        self.steps = 0

    def advance(self, n: int = 1, note: str = "") -> None:
        self.steps += n


def timed(
    seconds: dict[str, dict[int, float]], count: int = 1000, **more: Any
) -> tuple[list[Timing], dict[str, Made], list[tuple[str, str]]]:
    log: list[tuple[str, str]] = []
    made = {name: Made(name, of, log) for name, of in seconds.items()}
    bar = Bar()
    found = time_candidates(list(made.values()), Sample(Path("rows"), count, Path("before"), 99), bar, **more)
    assert bar.steps == len(made) * (1 + max(len(one.rates) for one in found))
    return found, made, log


def test_rounds_go_forwards_and_backwards_and_nobody_is_left_out():
    found, _, log = timed({"a": {}, "b": {}, "c": {}}, rounds=4)
    first = next(i for i, (_, do) in enumerate(log) if do == "warm_up" and log[i][0] == "c") + 2
    turns = log[first:]
    assert [name for name, _ in turns[::3]] == [*"abc", *"cba", *"abc", *"cba"]
    assert [do for _, do in turns] == ["latency", "throughput", "throughput"] * 12
    assert all(len(one.rates) == len(one.cpu) == 4 and len(one.ms) == 4 * timing.REQUESTS for one in found)
    # every round goes on where the last one ended, and what warms up is not counted
    assert found[0].ms == [float(i) for i in range(4 * timing.REQUESTS)] and found[0].tokens == [5] * (4 * timing.REQUESTS)


def test_a_round_gives_items_a_second_and_processor_seconds_for_a_thousand_items():
    (found,), _, _ = timed({"a": dict.fromkeys(BUDGETS, 0.004)}, rounds=3)
    assert found.rates == pytest.approx([250.0] * 3) and found.cpu == pytest.approx([2.0] * 3) and found.batch == 7.0
    assert found.first_sight == pytest.approx([200.0] * 3) and (found.texts, found.read_before) == (500, 99)
    assert statistics.median(found.rates) == pytest.approx(found.throughput().items_per_s)


@pytest.mark.parametrize(
    ("seconds", "budget"),
    [
        ((10, 9, 8, 7, 6), 8192),
        ((10, 9.8, 9.7, 9.69, 9.68), 2048),  # 2 % is noise; from 512 on, 2048 is the first that is 3 % better
        ((10, 10, 10, 10, 10), 512),
        ((8, 9, 9, 9, 5), 8192),  # a little slower is gone through
        ((8, 11, 9, 5, 5), 512),  # a fifth slower is not
        ((10, 5, 4.9, 7, 1), 1024),
    ],
)
def test_a_larger_batch_must_be_three_per_cent_better(seconds, budget):
    (found,), _, _ = timed({"a": dict(zip(BUDGETS, (s / 1000 for s in seconds), strict=True))}, rounds=1)
    assert found.budget == budget


@pytest.mark.parametrize(("slowest", "count", "size"), [(0.004, 1000, 500), (0.0001, 1000, 1000), (0.1, 1000, 256), (0.1, 100, 100)])
def test_the_sample_is_what_the_slowest_predicts_in_two_seconds(slowest, count, size):
    _, made, _ = timed({"fast": dict.fromkeys(BUDGETS, 0.00001), "slow": dict.fromkeys(BUDGETS, slowest)}, count=count, rounds=1)
    for one in made.values():
        asked = [fields["count"] for fields in one.asked if fields["do"] == "throughput"]
        # twice on a few texts, the first to warm up; all else on the common sample
        assert asked[:2] == [min(128, count)] * 2 and set(asked[2:]) == {size}


@pytest.mark.parametrize(("deadline", "rounds", "made"), [(-1.0, 5, 3), (1e12, 5, 5), (None, 5, 5), (-1.0, 2, 2)])
def test_three_rounds_are_measured_however_late_it_is(deadline, rounds, made):
    found, _, _ = timed({"a": {}}, rounds=rounds, deadline=deadline)
    assert len(found[0].rates) == made
