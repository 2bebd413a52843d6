"""Processor milliseconds a sweep on MovieLens 100K and Last.fm, ours and the peers' by turns, same rank, one thread each.

    python -m benchmarks.recommend.speed splits.npz lastfm/train.txt imbik=PYTHON smurff=PYTHON myfm=PYTHON implicit=PYTHON [--only TASK]

Every round starts each library once in its own process (``speed_worker.py``); the table has medians over the rounds.
"""

from __future__ import annotations

import json
import os
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import in_turns, parser, read_result, record, result_path

TASKS = [("gibbs", 10, ("imbik", "smurff", "myfm")), ("gibbs", 32, ("imbik", "smurff", "myfm")),
         ("logistic", 32, ("imbik", "implicit")), ("als-cg", 32, ("imbik", "implicit")), ("als-cg", 64, ("imbik", "implicit")),
         ("als-cholesky", 32, ("imbik", "implicit")), ("als-cholesky", 64, ("imbik", "implicit"))]  # fmt: skip
WORKER = Path(__file__).with_name("speed_worker.py")


def sweep(python: str, library: str, task: str, rank: int, file: str) -> float:
    """Return the milliseconds of one sweep, measured by a process of its own."""
    command = [python, str(WORKER), library, task, str(rank), file]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    if done.returncode:
        raise SystemExit(f"{library} failed: {done.stderr[-2000:]}")
    return float(json.loads(done.stdout.splitlines()[-1])["ms"])


def main() -> None:
    arguments = parser(__doc__, "rounds")
    arguments.add_argument("splits")
    arguments.add_argument("lastfm")
    arguments.add_argument("pythons", nargs="+", metavar="LIBRARY=PYTHON")
    arguments.add_argument("--only", action="append")
    options = arguments.parse_args()
    pythons = dict(text.split("=", 1) for text in options.pythons)
    name = "recommend/speed"
    result: dict[str, Any] = read_result(name) if result_path(name).is_file() else {}
    for task, rank, libraries in TASKS:
        if options.only and task not in options.only:
            continue
        file = options.splits if task == "gibbs" else options.lastfm
        runs = {who: partial(sweep, pythons[who], who, task, rank, file) for who in libraries if who in pythons}
        result[f"{task} {rank}"] = times = in_turns(runs, options.rounds)
        print(task, rank, {who: f"{np.median(v):.1f} ms ({min(v):.1f}-{max(v):.1f})" for who, v in times.items()}, flush=True)
        record(name, result, options, continues=True)


if __name__ == "__main__":
    main()
