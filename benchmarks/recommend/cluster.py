"""Fits with users on Ray actors: seconds a sweep at ten million ratings, and the quality of the sampler on MovieLens 100K.

    IMBIK_DATA=... python -m benchmarks.recommend.cluster [--ratings 10000000] [--only sweeps|quality]

Six processes for the sweeps: two models, each without Ray, on one actor and on two, every actor with one thread; then three splits with the
sampler of one machine and with two actors. Each cell is recorded when it is done, and a later call goes on where this one ended. It wants
two quiet cores, and takes some eight minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.common import parser, read_result, record, result_path
from benchmarks.recommend.run import ratings
from benchmarks.recommend.scale import ITEMS, RANK, USERS, triples

NAME = "recommend/cluster"
SETTINGS: dict[str, dict[str, Any]] = {"bpmf": {"burn_in": 7, "samples": 1}, "als": {"epochs": 8, "conjugate_steps": 0}}
PLACES: dict[str, dict[str, Any]] = {"alone": {}, "1 actor": {"ray": "local", "workers": 1}, "2 actors": {"ray": "local", "workers": 2}}
SEEDS = 3
PARTS = {"users": "draw", "items": "items", "errors": "squared_error"}
"""What is timed of a sweep -> the method of ``Shards`` that does it."""


def timed(spent: dict[str, list[float]]) -> None:
    """Let the methods of ``Shards`` note their seconds on the wall."""
    from imbik.recommend.cluster.shards import Shards

    def clocked(part: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            result = method(*arguments, **named)
            spent[part].append(time.perf_counter() - begun)
            return result

        return call

    for part, name in PARTS.items():
        setattr(Shards, name, clocked(part, getattr(Shards, name)))


def worker(model: str, place: str, count: int) -> None:
    """Print the median seconds of a sweep, after the first two, and of its parts on a cluster."""
    from imbik.recommend import Ratings
    from imbik.recommend.models.registry import build

    users, items, values = triples(count)
    ids = [np.arange(n).astype(str) for n in (USERS, ITEMS)]
    events = model == "als"
    values = np.ones(count) if events else values
    data = Ratings(users.astype(np.int32), items.astype(np.int32), values.astype(np.float32), ids[0], ids[1], implicit=events)
    data.by_user, data.by_item  # noqa: B018 (sorted once, outside the clock)
    spent: dict[str, list[float]] = {part: [] for part in PARTS}
    timed(spent)
    clock: list[float] = []
    build(model, rank=RANK, threads=1, **SETTINGS[model]).fit(
        data, report=lambda done, total, loss: clock.append(time.perf_counter()), **PLACES[place]
    )
    parts = {part: float(np.median(seconds[2:])) for part, seconds in spent.items() if seconds}
    print(json.dumps({"seconds": float(np.median(np.diff(clock)[1:])), **parts, "biases": model == "bpmf"}))


def sweeps(result: dict[str, Any], options: argparse.Namespace) -> None:
    """Measure what is missing of the seconds."""
    for model in SETTINGS:
        for place in PLACES:
            key = f"{model}, {place}"
            if key in result.setdefault("sweeps", {}):
                continue
            command = [sys.executable, "-m", "benchmarks.recommend.cluster", "--worker", model, place, str(options.ratings)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(done.stderr[-2000:])
            result["sweeps"][key] = json.loads(done.stdout.splitlines()[-1])
            print(key, result["sweeps"][key], flush=True)
            record(NAME, result, options, continues=True)


def quality(result: dict[str, Any], options: argparse.Namespace) -> None:
    """Fit and judge Bayesian PMF on splits of MovieLens 100K, on one machine and on two actors."""
    from imbik.recommend import evaluate, random_split
    from imbik.recommend.models.registry import build

    for seed in range(len(result.setdefault("quality", [])), SEEDS):
        train, test = random_split(ratings(), 0.1, seed)
        models = {place: build("bpmf", seed=seed, threads=1).fit(train, **PLACES[place]) for place in ("alone", "2 actors")}
        row: dict[str, Any] = {place: {k: evaluate(model, test)[k] for k in ("rmse", "coverage")} for place, model in models.items()}
        guesses = [model.predict_for(test).astype(np.float64) for model in models.values()]
        row["largest difference"] = float(np.abs(guesses[0] - guesses[1]).max())
        result["quality"].append(row)
        print(seed, row, flush=True)
        record(NAME, result, options, continues=True)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--ratings", type=int, default=10_000_000)
    arguments.add_argument("--only", choices=["sweeps", "quality"])
    options = arguments.parse_args()
    result: dict[str, Any] = read_result(NAME) if result_path(NAME).is_file() else {}
    if result.get("ratings", options.ratings) != options.ratings:
        raise SystemExit(f"the result holds sweeps of {result['ratings']} ratings: remove {result_path(NAME)}, or give --ratings as there")
    result |= {"ratings": options.ratings, "users": USERS, "items": ITEMS, "rank": RANK}
    for part, measure in (("sweeps", sweeps), ("quality", quality)):
        if options.only in (None, part):
            measure(result, options)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main()
