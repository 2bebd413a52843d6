"""Two hundred bodies that nobody means well with, and a worker that dies under load: refusals and answers, never silence."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from running_server import Server, running

SINGLE = Path(__file__).parents[1] / "frozen" / "artefacts" / "onnx-int8"
COUNT = 200

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def bodies(count: int = COUNT) -> Iterator[bytes]:
    """Yield bodies that are wrong each in its way, the same ones each time."""
    rng, good = random.Random(9), json.dumps({"inputs": [["my card"], ["is lost"]], "top": 2}).encode()
    values = [
        None,
        True,
        7,
        -1.5,
        1e308,
        [],
        {},
        [[]],
        [[[]]],
        [1, 2],
        [["a", "b", "c"]],
        [["a"], "b"],
        {"a": "b"},
        "\ud800",
        ["a", None],
        [["a"]] * 300,
    ]
    for value in values:
        for name in ("inputs", "top", "truncate", "raw_scores"):
            yield json.dumps({"inputs": "a"} | {name: value}).encode()
    for depth in (10, 1_000, 100_000):
        yield b'{"inputs": ' + b"[" * depth + b"]" * depth + b"}"
        yield b'{"a":' * depth + b"1" + b"}" * depth
        yield b"[" * depth
    yield from (
        b"",
        b"\x00",
        b"null",
        b"NaN",
        b'{"inputs": NaN}',
        b'{"inputs": 1e9999}',
        b'{"inputs": -Infinity}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
    )
    yield from (
        b'{"inputs": "\xff"}',
        b'{"inputs": "\xc0\x80"}',
        b'{"inputs": "\xed\xa0\x80"}',
        b'{"inputs": "a", "inputs": 5}',
        b'{"inputs": ' + b"9" * 5000 + b"}",
    )
    yield b'{"inputs": "' + b"a" * 200_000 + b'"}'
    yield b" " * 5_000_000
    made = 4 * len(values) + 9 + 14 + 2
    for _ in range(count - made):
        body = bytearray(good)
        for _ in range(rng.randint(1, 6)):
            place = rng.randrange(len(body))
            match rng.randrange(3):
                case 0:
                    body[place] = rng.randrange(256)
                case 1:
                    del body[place : place + rng.randint(1, 8)]
                case 2:
                    body[place:place] = rng.randbytes(rng.randint(1, 8))
        yield bytes(body)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("server"), str(SINGLE)) as one:
        yield one


def test_two_hundred_hostile_bodies_are_refused_and_the_next_client_is_answered(server: Server) -> None:
    seen: dict[int, int] = {}
    sent = list(bodies())
    assert len(sent) == COUNT
    for body in sent:
        try:
            status = server.ask("POST", "/predict", body)[0]
        except ConnectionError:  # refused by its length: closed while the client still sends
            status = 499
        seen[status] = seen.get(status, 0) + 1
        assert status == 200 or 400 <= status < 500, (status, body[:200])
    # a few are good by chance, such as {"inputs": "a", "top": 7}
    assert sum(count for status, count in seen.items() if status >= 400) > 150, seen
    assert server.process.poll() is None
    assert server.predict("my card is lost")


def _asked(server: Server, stop: threading.Event, silent: float) -> tuple[int, int]:
    """Ask until told to stop, again after a line that broke; return the answers and the broken lines."""
    answered = broken = 0
    while not stop.is_set():
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=silent)
        try:
            client.request("POST", "/predict", json.dumps({"inputs": "my card is lost"}))
            response = client.getresponse()
            response.read()
            assert response.status in (200, 429, 503)
            answered += 1
            time.sleep(0.02)  # a new worker needs the processor too
        except TimeoutError:
            raise AssertionError("silence") from None
        except (ConnectionError, http.client.HTTPException):
            broken += 1
        finally:
            client.close()
    return answered, broken


@pytest.mark.slow
def test_when_workers_are_killed_under_load_every_request_is_answered_or_its_line_breaks_at_once(tmp_path: Path) -> None:
    with running(tmp_path, str(SINGLE), "--workers", "2") as one:
        one.until(lambda: sum(line["event"] == "ready" for line in one.lines()) == 2)
        stop = threading.Event()
        with ThreadPoolExecutor(4) as threads:
            asked = [threads.submit(_asked, one, stop, 30.0) for _ in range(4)]
            try:
                for kills in range(1, 4):
                    time.sleep(0.5)
                    os.kill([line["process"] for line in one.lines() if line["event"] == "ready"][-1], signal.SIGKILL)
                    one.until(lambda n=kills: sum(line["event"] == "ready" for line in one.lines()) == 2 + n, seconds=240)
                time.sleep(0.5)
            finally:
                stop.set()
            done = [one.result() for one in asked]
        # a client that asks again is answered; of each kill at most what its four clients had under way breaks
        assert sum(broken for _, broken in done) <= 3 * 4
        assert all(answered > 3 for answered, _ in done)
