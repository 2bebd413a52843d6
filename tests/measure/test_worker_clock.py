"""What a worker times: one request from its text to its answer, all texts of a batch, by the right clock."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from imbik.errors import UserError
from imbik.measure import worker
from imbik.measure.timing import write_rows
from imbik.measure.worker import WARM_REQUESTS, Worker

TEXTS = ["a " * (i + 1) for i in range(7)]


class Clock:
    """Wall time and processor time that stand still but for the made predictor's work."""

    wall, cpu = 100.0, 50.0

    def perf_counter(self) -> float:
        return self.wall

    def process_time(self) -> float:
        return self.cpu


class Slow:
    """Takes 10 ms and a millisecond a word to answer, a fifth of it on the processor; the tokenizer alone takes an hour."""

    batch_tokens = 0

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.asked: list[str] = []
        self.known: set[str] = set()

    def predict(self, texts: list[str], pairs: list[str] | None = None) -> None:
        words = sum(len(text.split()) for text in texts)
        self.asked += texts
        # a word at first sight takes another millisecond
        new = {word for text in texts for word in text.split()} - self.known
        self.known |= new
        words += len(new)
        self.clock.wall += 0.010 + 0.001 * words
        self.clock.cpu += 0.002 + 0.0002 * words

    def remembered(self) -> dict[str, int]:
        return dict.fromkeys(self.known, 0)

    def remember(self, words: dict[str, int]) -> None:
        self.known = set(words)

    def read(self, texts: list[str], pairs: list[str] | None = None) -> None:
        """Reading others takes an hour as well: it must not be timed."""
        self.known |= {word for text in texts for word in text.split()}
        self.clock.wall += 3600
        self.clock.cpu += 3600

    def lengths(self, texts: list[str], pairs: list[str] | None = None) -> list[int]:
        return [len(one.ids) for one in self.encode(texts, pairs)]

    def encode(self, texts: list[str], pairs: list[str] | None = None) -> list[Any]:
        self.clock.wall += 3600
        self.clock.cpu += 3600
        return [SimpleNamespace(ids=[0] * (len(text.split()) + 2)) for text in texts]


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worker:
    clock = Clock()
    monkeypatch.setattr(worker, "time", clock)
    made = Worker.__new__(Worker)
    made.predictor, made._rows, made._memories = Slow(clock), {}, {}  # type: ignore[assignment]
    write_rows(tmp_path / "rows", TEXTS, None)
    return made


def test_a_request_is_timed_from_its_text_to_its_answer(slow: Worker, tmp_path: Path):
    """In the order of the requests, round the texts; the first few, on the texts before, are not counted."""
    write_rows(tmp_path / "others", ["a"], None)
    found = slow.latency(str(tmp_path / "rows"), start=4, count=9, before=str(tmp_path / "others"))
    words = [(4 + i) % 7 + 1 for i in range(9)]
    assert found["ms"] == pytest.approx([10 + word for word in words]) and found["tokens"] == [word + 2 for word in words]
    assert [len(text.split()) for text in slow.predictor.asked] == [(4 + i) % 7 + 1 for i in range(-WARM_REQUESTS, 9)]


def test_batches_are_timed_by_the_wall_and_by_the_processor(slow: Worker, tmp_path: Path):
    """Four texts of 10 words take 20 ms; the pass that ends after 50 ms is the third."""
    write_rows(tmp_path / "others", ["a"], None)
    found = slow.throughput(str(tmp_path / "rows"), count=4, budget=12, seconds=0.05, before=str(tmp_path / "others"))
    assert found["items"] == 12 and found["wall"] == pytest.approx(0.060) and found["cpu"] == pytest.approx(0.012)
    # lengths 6, 5, 4, 3 in batches of 12 tokens: two and two
    assert found["batch"] == 2.0 and slow.predictor.batch_tokens == 12


@pytest.mark.parametrize(("before", "milliseconds"), [(["a b", "z"], 13), (["b c a"], 12), (None, 14)])
def test_every_pass_sees_its_texts_as_if_it_were_the_first(slow: Worker, tmp_path: Path, before: list[str] | None, milliseconds: int):
    """``b c`` after other texts, or at first sight: what an earlier pass or request has read is forgotten."""
    write_rows(tmp_path / "two", ["b c"], None)
    others = None if before is None else str(tmp_path / "others")
    write_rows(tmp_path / "others", before or [], None)
    passes = slow.throughput(str(tmp_path / "two"), count=1, budget=12, seconds=0.03, before=others)
    assert passes["items"] == 3 and passes["wall"] == pytest.approx(3 * milliseconds / 1000)


def test_one_pass_is_made_however_short_the_time(slow: Worker, tmp_path: Path):
    assert slow.throughput(str(tmp_path / "rows"), count=2, budget=64, seconds=0.0)["items"] == 2


@pytest.mark.parametrize(("spins", "waits"), [([0.02, 0.02, 0.0005, 0.02], 3), ([0.0], 1), ([0.02] * 500, 100)])
def test_a_worker_answers_when_its_threads_sleep_or_a_second_is_over(monkeypatch: pytest.MonkeyPatch, spins: list[float], waits: int):
    clock, used = Clock(), iter(spins)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.wall += seconds
        clock.cpu += next(used)

    clock.sleep = sleep  # type: ignore[attr-defined]
    monkeypatch.setattr(worker, "time", clock)
    worker.settle()
    assert abs(len(slept) - waits) <= 1 and np.allclose(slept, 0.01)


class Answering:
    """A worker of which each request ends in another way."""

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments

    def predict(self, texts: list[str]) -> dict[str, Any]:
        return {"count": len(texts)}

    def memory(self) -> dict[str, Any]:
        return {"peak_rss_bytes": 7}

    def facts(self) -> dict[str, Any]:
        raise UserError("the user's mistake")

    def warm_up(self) -> dict[str, Any]:
        raise ValueError("ours")


def served(monkeypatch: pytest.MonkeyPatch, make: Callable[[], object], *requests: dict[str, Any]) -> tuple[list[dict[str, Any]], int]:
    """The answers, and how often it was waited for sleeping threads."""
    waited: list[bool] = []
    monkeypatch.setattr(worker, "settle", lambda: waited.append(True))
    answers = io.StringIO()
    worker.serve(make, io.StringIO("".join(json.dumps(request) + "\n" for request in requests)), answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()], len(waited)


def test_every_request_is_answered_and_all_but_a_cold_start_wait_for_sleeping_threads(monkeypatch: pytest.MonkeyPatch):
    asked = ({"do": "predict", "texts": ["a", "b"]}, {"do": "memory"}, {"do": "facts"}, {"do": "warm_up"})
    found, waited = served(monkeypatch, Answering, *asked)
    assert found == [{"count": 2}, {"peak_rss_bytes": 7}, {"error": found[2]["error"], "user": True}, {"error": "ValueError: ours"}]
    assert "the user's mistake" in found[2]["error"] and waited == 3


def test_a_folder_that_cannot_be_opened_is_told_and_nothing_is_asked(monkeypatch: pytest.MonkeyPatch):
    def broken(*arguments: object) -> Any:
        raise UserError("no such artefact")

    found, waited = served(monkeypatch, broken, {"do": "memory"})
    assert len(found) == 1 and found[0]["user"] and "no such artefact" in found[0]["error"] and waited == 0


@pytest.mark.parametrize(
    ("more", "multiple", "engine"),
    [([], None, None), (["16"], 16, None), (["", "openvino"], None, "openvino"), (["8", ""], 8, None), (["8", "onnx"], 8, "onnx")],
)
def test_arguments_of_the_process(monkeypatch: pytest.MonkeyPatch, more: list[str], multiple: int | None, engine: str | None):
    """Answers go to what was standard output; what a library prints goes to standard error from here on."""
    calls: list[tuple[Any, ...]] = []
    streams = SimpleNamespace(dup=lambda number: 10 + number, fdopen=lambda number, *_, **__: number, dup2=lambda *pair: calls.append(pair))
    monkeypatch.setattr(worker, "os", streams)
    monkeypatch.setattr(sys, "argv", ["worker", "folder", "3", *more])
    monkeypatch.setattr(worker, "Worker", lambda *arguments: arguments)
    monkeypatch.setattr(worker, "serve", lambda make, *arguments: calls.append((*make(), *arguments)))
    worker.main()
    assert calls == [(2, 1), ("folder", 3, multiple, engine, sys.stdin, 11)]


class Status:
    """A /proc/self/status, or a machine without one."""

    def __init__(self, text: str | None) -> None:
        self.text = text

    def __call__(self, path: str) -> Status:
        return self

    def read_text(self, encoding: str) -> str:
        if self.text is None:
            raise OSError
        return self.text


@pytest.mark.parametrize(
    ("status", "platform", "expected"),
    [
        ("Name:\tpython\nVmPeak:\t  900 kB\nVmHWM:\t  123 kB\nVmRSS:\t  100 kB\n", "linux", 123 * 1024),
        (None, "linux", 77 * 1024),  # KiB
        (None, "darwin", 77),  # bytes
        ("Name:\tpython\n", "linux", 77 * 1024),
    ],
)
def test_peak_memory_is_told_in_bytes(monkeypatch: pytest.MonkeyPatch, status: str | None, platform: str, expected: int):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=77 if who == resource.RUSAGE_SELF else -1))
    monkeypatch.setattr(worker, "Path", Status(status))
    monkeypatch.setattr(worker, "sys", SimpleNamespace(platform=platform))
    assert worker.peak_rss_bytes() == expected
