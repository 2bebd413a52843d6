"""Requests a second at a 99th percentile of 20 ms: imbik serve, FastAPI + transformers, FastAPI + onnxruntime; see README.md beside this.

    python -m benchmarks.serve.run ARTEFACT CHECKPOINT TEXTS.csv --name NAME --peer PYTHON [--workers 2] [--seconds 20] [--rounds 3]

TEXTS.csv: the text in its first column, a heading above.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, parser, record, result_path
from benchmarks.serve.client import bodies, trial

LIMIT_MS = 20.0
_NEAR = 1.1  # two rates of which one holds and the other does not, so near, end the search


def main() -> None:
    options = _options()
    with options.texts.open(encoding="utf-8", newline="") as file:
        requests = bodies([row[0] for row in list(csv.reader(file))[1:] if row][:2000])
    trials = Trials(options)
    servers = ["imbik", *(["onnxruntime", "transformers"] if options.peer else [])]
    for number in range(options.rounds):
        for server in servers[:: 1 if number % 2 == 0 else -1]:
            seek(server, number, requests, trials)
    best = {server: [trials.best(server, number) for number in range(options.rounds)] for server in servers}
    rate = statistics.median(best["imbik"])
    if options.overload_s > 0:
        overload(rate, requests, trials)
    summary = {server: {"rates": rates, "median_per_s": statistics.median(rates)} for server, rates in best.items()}
    trials.save({"limit_ms": options.limit_ms, "servers": summary})
    for server, facts in summary.items():
        times = rate / facts["median_per_s"] if facts["median_per_s"] else float("inf")
        print(f"{server}: {facts['median_per_s']:.0f} requests/s at p99 <= {options.limit_ms:.0f} ms; imbik {times:.2f} times")


def _options() -> argparse.Namespace:
    made = parser(__doc__, "rounds", "threads")
    for name in ("artefact", "checkpoint", "texts"):
        made.add_argument(name, type=Path)
    made.add_argument("--name", required=True)
    made.add_argument("--peer", type=Path, help="Python of an environment with FastAPI, transformers and onnxruntime")
    made.add_argument("--workers", type=int, default=1, help="processes of every server")
    made.add_argument("--seconds", type=float, default=20.0, help="of a trial")
    made.add_argument("--overload-s", type=float, default=60.0, help="seconds of half the rate, and of ten times the rate; 0: neither")
    made.add_argument("--limit-ms", type=float, default=LIMIT_MS, help="of the 99th percentile")
    made.add_argument("--max-wait-ms", type=float, default=0.0, help="imbik's option of that name; 0: without")
    made.add_argument("--first", type=float, default=25.0, help="the first rate that is tried")
    made.add_argument("--most", type=float, default=20_000.0, help="the highest rate that is tried")
    return made.parse_args()


class Trials:
    """What was tried, kept on disk trial by trial."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.name = options, f"serve/load-{options.name}"
        path = result_path(self.name)
        before = json.loads(path.read_text(encoding="utf-8"))["numbers"] if path.is_file() else {}
        self.cells: dict[str, Any] = before.get("trials", {})

    def save(self, more: dict[str, Any] | None = None) -> None:
        """Write all trials."""
        record(self.name, {"workers": self.options.workers, "trials": self.cells, **(more or {})}, self.options, continues=True)

    def done(self, server: str, number: int, rate: float) -> dict[str, Any] | None:
        """Return a trial of an earlier call."""
        found: dict[str, Any] | None = self.cells.get(f"{server}/{number}/{rate:.1f}")
        return found

    def keep(self, server: str, number: int, rate: float, numbers: dict[str, Any]) -> None:
        """Keep a trial."""
        self.cells[f"{server}/{number}/{rate:.1f}"] = {"rate": rate, **numbers}
        self.save()

    def best(self, server: str, number: int) -> float:
        """Return the highest rate that held."""
        mine = [cell for key, cell in self.cells.items() if key.startswith(f"{server}/{number}/")]
        return max((cell["rate"] for cell in mine if holds(cell, self.options.limit_ms)), default=0.0)


def holds(cell: dict[str, Any], limit_ms: float) -> bool:
    """Return whether a trial met the limit with every request answered."""
    return set(cell["statuses"]) == {"200"} and cell["p99_ms"] <= limit_ms


def seek(server: str, number: int, requests: list[bytes], trials: Trials) -> None:
    """Try rates until the highest one that holds is known within a tenth."""
    options, low, high, rate = trials.options, 0.0, 0.0, trials.options.first
    with contextlib.ExitStack() as stack:
        port = None
        while True:
            cell = trials.done(server, number, rate)
            if cell is None:
                if port is None:  # only now: what an earlier call did needs no server
                    port = stack.enter_context(running(server, options))
                    trial(port, requests, options.first, 3.0)  # warm
                found = trial(port, requests, rate, options.seconds, seed=number)
                trials.keep(server, number, rate, dict(found.numbers()))
                cell = trials.done(server, number, rate)
                assert cell is not None
                print(f"{server} {rate:.0f}/s: p50 {cell['p50_ms']:.2f} p99 {cell['p99_ms']:.2f} ms {cell['statuses']}", flush=True)
            low, high = (rate, high) if holds(cell, options.limit_ms) else (low, rate)
            if high == 0.0:
                if rate >= options.most:
                    return
                rate = min(2 * rate, options.most)
            elif low == 0.0:
                rate = high / 2
                if rate < 1:
                    return
            elif high / low <= _NEAR:
                return
            else:
                rate = round((low * high) ** 0.5, 1)


def overload(rate: float, requests: list[bytes], trials: Trials) -> None:
    """Ask imbik at half of what it holds, and at ten times what it holds."""
    if not rate or (trials.done("overload-half", 0, rate / 2) and trials.done("overload-ten", 0, rate * 10)):
        return
    with running("imbik", trials.options) as port:
        trial(port, requests, trials.options.first, 3.0)
        for name, factor in (("overload-half", 0.5), ("overload-ten", 10.0)):
            before = memory(port)
            found = trial(port, requests, rate * factor, trials.options.overload_s)
            trials.keep(name, 0, rate * factor, {**found.numbers(), "rss_before": before, "rss_after": memory(port)})


@contextlib.contextmanager
def running(server: str, options: argparse.Namespace) -> Iterator[int]:
    """Start a server, and give its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    workers = str(options.workers)
    peers, threads = ROOT / "benchmarks" / "serve" / "peers.py", options.threads
    wait = ["--max-wait-ms", options.max_wait_ms] if options.max_wait_ms else []
    commands = {
        "imbik": [
            sys.executable,
            "-m",
            "imbik",
            "serve",
            options.artefact,
            "--port",
            port,
            "--workers",
            workers,
            "--threads",
            threads,
            *wait,
        ],
        "onnxruntime": [options.peer, peers, "onnxruntime", options.artefact, port, workers],
        "transformers": [options.peer, peers, "transformers", options.checkpoint, port, workers],
    }
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads), "TOKENIZERS_PARALLELISM": "false"}
    process = subprocess.Popen(
        [str(word) for word in commands[server]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    try:
        health = "/health/ready" if server == "imbik" else "/health"
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}{health}", timeout=5) as answer:
                if answer.status == 200:
                    break
            if process.poll() is not None:
                raise SystemExit(f"{server} ended with code {process.returncode}")
            time.sleep(0.25)
        _PROCESSES[port] = process.pid
        yield port
    finally:
        process.terminate()
        process.wait(60)


_PROCESSES: dict[int, int] = {}


def memory(port: int) -> int:
    """Return the resident bytes of a server and of the processes that it started."""
    import psutil

    parent = psutil.Process(_PROCESSES[port])
    return sum(one.memory_info().rss for one in (parent, *parent.children(recursive=True)))


if __name__ == "__main__":
    main()
