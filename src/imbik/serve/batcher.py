"""Requests of one model, computed one batch after the other: together where several wait, at once where one is alone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import inf
from typing import Any

from imbik.errors import UserError
from imbik.runtime.predictor import Predictor
from imbik.serve.metrics import Metrics
from imbik.serve.refusals import Refusal, invalid, overloaded, stopping, too_late
from imbik.serve.requests import Asked
from imbik.serve.settings import Limits
from imbik.tasks.outputs import take
from imbik.tasks.registry import task_of
from imbik.tasks.task import Answer
from imbik.tasks.task import Asked as Context

_log = logging.getLogger(__name__)

_SMOOTH = 0.1
"""Weight of the last batch in the running mean of the seconds that a text takes."""


@dataclass
class _Waiting:
    asked: Asked
    answer: asyncio.Future[list[Answer]]
    until: float


class Batcher:
    """One model, one computing thread and a bounded queue before it.

    Args:
        predictor: the model.
        name: of the model, for the metrics.
        limits: bounds of queue and batch.
        metrics: where batches are counted.
    """

    def __init__(self, predictor: Predictor, name: str, limits: Limits, metrics: Metrics) -> None:
        self.predictor, self.name, self.limits = predictor, name, limits
        self._task = task_of(predictor.task)
        self._waiting: deque[_Waiting] = deque()
        self._texts = 0
        self._queue, self._batches = metrics.queue.labels(name), metrics.batches.labels(name)
        # one thread: the engine spreads a batch over its own compute threads
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"model {name}")
        self._running: asyncio.Task[None] | None = None
        self._seconds_per_text = 0.0
        self._closed = False

    async def answers(self, asked: Asked, seconds: float) -> list[Answer]:
        """Return what the model says of each text of a request.

        Args:
            asked: the request.
            seconds: how long it may take.

        Raises:
            Refusal: 429, the queue is full; 503, the time is over or the server is stopping; 422, the model cannot take the texts.
        """
        if self._closed:
            raise stopping()
        if asked.raw and not self._task.one_row:
            raise invalid("raw_scores: a model whose answers lie in the text has no row of numbers; leave it out")
        # alone in the line a request is taken whatever its size, which the limit of a request bounds
        if self._texts and (self._texts + len(asked.texts) > self.limits.queue or self._line() > (self.limits.wait_s or inf)):
            raise overloaded(self._line())
        entry = _Waiting(asked, asyncio.get_running_loop().create_future(), time.monotonic() + seconds)
        self._waiting.append(entry)
        self._count(len(asked.texts))
        if self._running is None:
            self._running = asyncio.create_task(self._work())
        try:
            return await asyncio.wait_for(entry.answer, seconds)
        except TimeoutError:
            raise too_late() from None

    async def close(self) -> None:
        """Answer what waits, take nothing new, and end the thread."""
        self._closed = True
        if self._running is not None:
            await self._running
        self._thread.shutdown()

    def _line(self) -> float:
        """Return how many seconds the model needs for what is in the line and in work, as far as its last batches tell."""
        return self._texts * self._seconds_per_text

    def _most(self) -> int:
        """Return how many texts may be computed at once."""
        if self.limits.wait_s is None or not self._seconds_per_text:
            return self.limits.batch
        return min(self.limits.batch, max(1, int(self.limits.wait_s / self._seconds_per_text)))

    def _count(self, more: int) -> None:
        self._texts += more
        self._queue.set(self._texts)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while batch := list(self._next()):
                count = sum(len(one.asked.texts) for one in batch)
                self._batches.observe(count)
                begun = time.perf_counter()
                results = await loop.run_in_executor(self._thread, self._answered, [one.asked for one in batch])
                self._count(-count)
                share = (time.perf_counter() - begun) / count
                self._seconds_per_text += _SMOOTH * (share - self._seconds_per_text) if self._seconds_per_text else share
                for one, result in zip(batch, results, strict=True):
                    _deliver(one.answer, result)
        finally:
            self._running = None

    def _next(self) -> Iterator[_Waiting]:
        """Yield requests of one kind from the front of the line, up to the size of a batch, without those that nobody waits for."""
        size, pairs, most = 0, None, self._most()
        while self._waiting:
            first = self._waiting[0]
            if first.answer.done() or first.until <= time.monotonic():
                self._count(-len(self._waiting.popleft().asked.texts))
                if not first.answer.done():
                    first.answer.set_exception(too_late())
                continue
            kind = first.asked.pairs is not None
            if size and (kind != pairs or size + len(first.asked.texts) > most):
                return
            pairs, size = kind, size + len(first.asked.texts)
            yield self._waiting.popleft()

    def _answered(self, batch: list[Asked]) -> list[list[Answer] | Refusal]:
        """Return :meth:`_compute`'s results; a failure of the engine is logged and told to every client of the batch."""
        try:
            return self._compute(batch)
        except Exception:
            _log.exception("the model %s failed", self.name)
            return [Refusal(500, "backend", "the model failed; the server's log says why")] * len(batch)

    def _compute(self, batch: list[Asked]) -> list[list[Answer] | Refusal]:
        """Return the answers of each request, or why it has none; in the computing thread."""
        checked = [self._too_long(one) if one.whole else None for one in batch]
        able = [one for one, refusal in zip(batch, checked, strict=True) if refusal is None]
        answers = iter(self._together(able) if able else [])
        return [next(answers) if refusal is None else refusal for refusal in checked]

    def _together(self, batch: list[Asked]) -> list[list[Answer] | Refusal]:
        texts = [row for one in batch for row in one.rows]
        pairs = None if batch[0].pairs is None else [text for one in batch for text in one.pairs or ()]
        try:
            outputs = self.predictor.scores(texts, pairs)
        except UserError as error:
            if len(batch) > 1:
                # one client's broken image must not cost the others their answers
                return [self._together([one])[0] for one in batch]
            return [invalid(str(error))]
        found: list[list[Answer] | Refusal] = []
        start = 0
        for one in batch:
            some = take(outputs, slice(start, start := start + len(one.texts)))
            shown = some if one.raw else self._task.decode(some, Context(self.predictor.labels, one.texts, one.pairs))
            top = one.top or len(self.predictor.labels)
            found.append(self._task.answers(shown, self.predictor.labels, one.texts, one.pairs, top))
        return found

    def _too_long(self, asked: Asked) -> Refusal | None:
        if self._task.overlap:  # long texts are read in windows, and never cut
            return None
        for number, encoding in enumerate(self.predictor.encode(asked.texts, asked.pairs), 1):
            if encoding.overflowing:
                return invalid(f"text {number} is longer than {self.predictor.max_length} tokens; allow it to be cut with truncate: true")
        return None


def _deliver(answer: asyncio.Future[Any], result: list[Answer] | Refusal) -> None:
    if answer.done():  # its client has left, or its time is over
        return
    if isinstance(result, Refusal):
        answer.set_exception(result)
    else:
        answer.set_result(result)
