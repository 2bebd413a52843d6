"""``python -m imbik.measure.worker FOLDER THREADS [LENGTH-MULTIPLE [ENGINE]]``: one model in a process of its own.

It is asked over its standard input. A request is one line of JSON with ``do``; the answer is one line of JSON on standard output.
Texts and logits travel in files, so that neither side holds more than a chunk of them. An answer is sent only when the process's
threads have gone to sleep: threads that spin for a while after their work would slow down whoever is measured next.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from imbik.data.batches import token_batches
from imbik.errors import UserError
from imbik.measure.predictions import OutputFile
from imbik.measure.rows import heard
from imbik.runtime.predictor import CHUNK, Predictor, load_artefact

WARM_REQUESTS = 3


def peak_rss_bytes() -> int:
    """Largest resident memory that this process has had; 0 where the operating system does not tell."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            # the high-water mark of this program; ru_maxrss may still hold that of the parent it
            # was forked from
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return 0
    # bytes on macOS, KiB elsewhere
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def read_rows(path: str | Path) -> Iterator[tuple[list[Any], list[Any] | None]]:
    """Chunks ``(texts, pairs)`` of a file with one JSON list, ``[text]`` or ``[text, pair]``, a line; see :mod:`imbik.measure.rows`."""
    with open(path, encoding="utf-8") as file:
        while lines := list(islice(file, CHUNK)):
            rows = [[heard(cell) for cell in json.loads(line)] for line in lines]
            yield [row[0] for row in rows], [row[1] for row in rows] if len(rows[0]) > 1 else None


class Worker:
    """What the requests do; each method is named after a request and takes its fields."""

    def __init__(self, folder: str, threads: int, length_multiple: int | None = None, engine: str | None = None) -> None:
        self.predictor: Predictor = load_artefact(folder, threads=threads, length_multiple=length_multiple, engine_name=engine)
        self._rows: dict[str, tuple[list[Any], list[Any] | None]] = {}
        # by the file of texts that were read; None: by none
        self._memories: dict[str | None, Mapping[str, Any]] = {}

    def predict(self, texts: list[Any], pairs: list[str] | None = None) -> dict[str, Any]:
        """Answer a few texts; the first answer of a process is its cold start."""
        self.predictor.predict([heard(text) for text in texts], pairs)
        return {"count": len(texts)}

    def warm_up(self) -> dict[str, Any]:
        """Let the engine prepare every length that single requests are padded to."""
        return {"shapes": self.predictor.warm_up()}

    def scores(self, rows: str, count: int, out: str, budget: int) -> dict[str, Any]:
        """Write the outputs of all rows of a file to ``out``; :func:`imbik.measure.predictions.load_outputs` reads them."""
        self.predictor.batch_tokens = budget
        writer = OutputFile(out, count)
        for texts, pairs in read_rows(rows):
            writer.add(self.predictor.scores(texts, pairs))
        return {"count": writer.close()}

    def latency(self, rows: str, start: int, count: int, before: str | None = None) -> dict[str, Any]:
        """Milliseconds and tokens of ``count`` requests of one text each, in a process that has read the texts of ``before``."""
        texts, pairs = self._load(rows)
        self._read(before)
        # the first few, with negative numbers, are not counted: after a pause caches are cold
        chosen = [(start + index) % len(texts) for index in range(-WARM_REQUESTS, count)]
        times, tokens = [], []
        for index in chosen:
            one, other = [texts[index]], None if pairs is None else [pairs[index]]
            begin = time.perf_counter()
            self.predictor.predict(one, other)
            times.append((time.perf_counter() - begin) * 1000)
            tokens.append(sum(self.predictor.lengths(one, other)))
        return {"ms": times[WARM_REQUESTS:], "tokens": tokens[WARM_REQUESTS:]}

    def throughput(self, rows: str, count: int, budget: int, seconds: float, before: str | None = None) -> dict[str, Any]:
        """Predict ``count`` texts in one pass: items, wall time, processor time, mean batch.

        A pass that takes less than ``seconds`` is made again, each in the state of the first one: of a process that has read the texts of
        the file ``before``, or no text at all where that is None, and never one of those that are timed. Reading is not timed.
        """
        texts, pairs = self._load(rows)
        texts, pairs = texts[:count], None if pairs is None else pairs[:count]
        self.predictor.batch_tokens = budget
        items, wall, cpu = 0, 0.0, 0.0
        while items == 0 or wall < seconds:
            self._read(before)
            begin, used = time.perf_counter(), time.process_time()
            self.predictor.predict(texts, pairs)
            wall, cpu = wall + time.perf_counter() - begin, cpu + time.process_time() - used
            items += len(texts)
        # after the clocks were read: only for the report
        lengths = self.predictor.lengths(texts, pairs)
        batches = sum(1 for _ in token_batches(lengths, budget))
        return {"items": items, "wall": wall, "cpu": cpu, "batch": len(texts) / batches}

    def facts(self) -> dict[str, Any]:
        """What is known of the model, and the memory that the process has taken so far."""
        manifest = dict(self.predictor.manifest)
        if "params" not in manifest:
            manifest |= self.predictor.session.facts()
        return {"peak_rss_bytes": peak_rss_bytes(), "manifest": manifest, "length_multiple": self.predictor.length_multiple}

    def memory(self) -> dict[str, Any]:
        """Largest resident memory so far."""
        return {"peak_rss_bytes": peak_rss_bytes()}

    def _read(self, before: str | None) -> None:
        """Remember the words of the texts of a file and no others; None: none at all."""
        if before not in self._memories:
            self.predictor.remember({})
            if before is not None:
                self.predictor.read(*self._load(before))
            self._memories[before] = self.predictor.remembered()
        self.predictor.remember(self._memories[before])

    def _load(self, path: str) -> tuple[list[Any], list[Any] | None]:
        if path not in self._rows:
            texts: list[Any] = []
            pairs: list[Any] | None = None
            for more, others in read_rows(path):
                texts += more
                pairs = pairs if others is None else (pairs or []) + others
            self._rows[path] = (texts, pairs)
        return self._rows[path]


def settle(limit: float = 1.0) -> None:
    """Wait, at most ``limit`` seconds, until this process uses no processor time."""
    end = time.perf_counter() + limit
    while time.perf_counter() < end:
        before = time.process_time()
        time.sleep(0.01)
        # below a tenth of the time slept: no thread spins any more
        if time.process_time() - before < 0.001:
            return


def serve(make: Callable[[], object], requests: TextIO, answers: TextIO) -> None:
    """Answer requests until the input ends. A user's mistake travels back as ``{"error": message}``.

    Args:
        make: makes the worker, whose methods are named after requests.
        requests, answers: one line of JSON each.
    """
    try:
        worker = make()
    except UserError as error:
        _send(answers, {"error": str(error), "user": True})
        return
    for line in requests:
        request: Mapping[str, Any] = json.loads(line)
        fields = {key: value for key, value in request.items() if key != "do"}
        handler: Callable[..., dict[str, Any]] = getattr(worker, request["do"])
        try:
            answer = handler(**fields)
        except UserError as error:
            answer = {"error": str(error), "user": True}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        # the first answer is a cold start, which is timed by who asks: settling would count into it
        if request["do"] != "predict":
            settle()
        _send(answers, answer)


def _send(answers: TextIO, answer: Mapping[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def answer_requests(make: Callable[[], object]) -> None:
    """Serve on standard input and output. Whatever a library prints goes to standard error; standard output carries answers only."""
    # the real standard output under a new number; number 1 leads to standard error from here on,
    # for C++ libraries as well, which sys.stdout does not reach
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(make, sys.stdin, answers)


def main() -> None:
    """Entry point."""
    multiple = int(sys.argv[3]) if len(sys.argv) > 3 and sys.argv[3] else None
    engine = sys.argv[4] if len(sys.argv) > 4 and sys.argv[4] else None
    answer_requests(lambda: Worker(sys.argv[1], int(sys.argv[2]), multiple, engine))


if __name__ == "__main__":
    main()
