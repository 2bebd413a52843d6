"""Requests that arrive at random at a set rate, however long answers take: latencies count from the intended send time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

_LONGEST = 30.0  # seconds that the last answers are waited for


@dataclass
class Trial:
    """What happened at one rate.

    Attributes:
        sent: requests.
        statuses: how often each was answered; 0: no answer.
        seconds: latencies of those answered with 200.
        late: seconds behind its intended time at which the client sent each request: its own delay, counted as the server's.
        again: requests that found their kept connection closed, and were sent over a new one.
    """

    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    again: int = 0

    def numbers(self) -> dict[str, object]:
        """Return the trial as it is stored."""
        percentiles = np.percentile(self.seconds, [50, 95, 99, 99.9]) * 1000 if self.seconds else [float("nan")] * 4
        return {
            "sent": self.sent,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            **{f"p{name}_ms": float(value) for name, value in zip(("50", "95", "99", "99.9"), percentiles, strict=True)},
            "again": self.again,
            "client_late_p99_ms": float(np.percentile(self.late, 99) * 1000) if self.late else None,
        }


class Connections:
    """Connections that are kept open; as many as there are requests under way."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.again = 0

    async def ask(self, request: bytes) -> int:
        """Send one request, and return the status of its answer; 0 where there is none."""
        while self.idle:
            reader, writer = self.idle.pop()
            try:
                return await self._over(reader, writer, request)
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                if getattr(error, "partial", b""):
                    return 0
                # closed for being idle before the request came, as servers may: every client sends it once more
                self.again += 1
        try:
            return await self._over(*await asyncio.open_connection("127.0.0.1", self.port), request)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return 0

    async def _over(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> int:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        try:
            await reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            return 0  # broken off in the middle of an answer
        if b"connection: close" in lines:
            writer.close()
        else:
            self.idle.append((reader, writer))
        return int(head[9:12])


def bodies(texts: Sequence[str]) -> list[bytes]:
    """Return a whole request for each text."""
    made = []
    for text in texts:
        body = json.dumps({"inputs": text}).encode()
        head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        made.append(head.encode() + body)
    return made


async def _trial(port: int, requests: Sequence[bytes], rate: float, seconds: float, seed: int) -> Trial:
    trial, connections = Trial(), Connections(port)
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.exponential(1 / rate, int(rate * seconds * 1.2) + 10))
    times = times[times < seconds]
    begin = time.perf_counter()

    async def ask(intended: float, request: bytes) -> None:
        trial.late.append(max(0.0, time.perf_counter() - begin - intended))
        status = await connections.ask(request)
        trial.statuses[status] += 1
        if status == 200:
            trial.seconds.append(time.perf_counter() - begin - intended)

    tasks = []
    for number, intended in enumerate(times.tolist()):
        wait = begin + intended - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        elif number % 64 == 0:  # behind its times: let answers in all the same
            await asyncio.sleep(0)
        tasks.append(asyncio.create_task(ask(intended, requests[number % len(requests)])))
    trial.sent = len(tasks)
    _, unanswered = await asyncio.wait(tasks, timeout=_LONGEST) if tasks else (set(), set())
    for task in unanswered:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    if unanswered:
        trial.statuses[0] += len(unanswered)
    trial.again = connections.again
    for _, writer in connections.idle:
        writer.close()
    return trial


def trial(port: int, requests: Sequence[bytes], rate: float, seconds: float, seed: int = 0) -> Trial:
    """Ask a server at a rate for some seconds."""
    return asyncio.run(_trial(port, requests, rate, seconds, seed))
