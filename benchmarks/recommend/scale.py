"""1, 3 and 10 million synthetic ratings of 100,000 users and 20,000 items: processor seconds (one thread) and peak memory.

One process each.

    python -m benchmarks.recommend.scale [MODEL ...]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import parser, read_result, record, result_path

USERS, ITEMS, RANK = 100_000, 20_000, 16
SIZES = (1_000_000, 3_000_000, 10_000_000)
PASSES = {"read": 1, "bpmf": 6, "pmf": 6, "nmf": 6, "svd": 6, "als": 6, "logistic": 3}


def triples(count: int) -> Any:
    """Users at random, items by a power law, no cell twice; ratings of rank 4 with biases, on half stars."""
    rng = np.random.default_rng(0)
    users = rng.integers(0, USERS, int(count * 1.3))
    items = (ITEMS * rng.random(len(users)) ** 2).astype(np.int64)
    cells = np.unique(users * ITEMS + items)
    cells = rng.permutation(cells)[:count]
    users, items = cells // ITEMS, cells % ITEMS
    left, right = rng.standard_normal((USERS, 5)) * 0.4, rng.standard_normal((ITEMS, 5)) * 0.6
    values = 3.4 + left[users, 4] + right[items, 4] + np.einsum("nd,nd->n", left[users, :4], right[items, :4])
    return users, items, np.clip(np.round(2 * (values + 0.8 * rng.standard_normal(count))) / 2, 0.5, 5)


def memory(key: str) -> float:
    """A figure of /proc/self/status in MB: VmRSS now, VmHWM the highest since :func:`forget_peak`."""
    return int(Path("/proc/self/status").read_text().split(f"{key}:")[1].split()[0]) / 1024


def forget_peak() -> None:
    """Let the kernel count the peak from here (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def worker(name: str, count: int) -> None:
    from imbik.recommend import Ratings, random_split, read_ratings
    from imbik.recommend.models.registry import build

    users, items, values = triples(count)
    if name == "read":
        import pyarrow as pa
        from pyarrow import csv

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "ratings.csv"
            csv.write_csv(pa.table({"user": users, "item": items, "rating": values}), path)
            del users, items, values
            forget_peak()
            before = memory("VmRSS")
            start = time.process_time()
            read_ratings(path)
            report = {"seconds_a_pass": time.process_time() - start, "rmse": float("nan")}
    else:
        ids = [np.arange(n).astype(str) for n in (USERS, ITEMS)]
        shape = ids[0], ids[1]
        data = Ratings(users.astype(np.int32), items.astype(np.int32), values.astype(np.float32), *shape)
        del users, items, values
        split = random_split(data, 0.02, 0)
        split.train.by_user, split.train.by_item  # noqa: B018 (sorted once, outside the clock)
        del data
        forget_peak()
        before = memory("VmRSS")
        report = passes(name, split, build)
    print(json.dumps({**report, "peak_mb": memory("VmHWM"), "before_mb": before}))


def passes(name: str, split: Any, build: Any) -> dict[str, float]:
    """Median seconds of a pass after the first (which compiles), and RMSE on the held-out part."""
    length = {"burn_in": PASSES[name] - 4, "samples": 4} if name == "bpmf" else {"epochs": PASSES[name]}
    model = build(name, rank=RANK, threads=1, **length)
    clock = [time.process_time()]
    model.fit(split.train, report=lambda done, total, loss: clock.append(time.process_time()))
    error = model.predict_for(split.test) - split.test.values
    rmse = float(np.sqrt(np.mean(error.astype(np.float64) ** 2))) if model.feedback == "explicit" else float("nan")
    return {"seconds_a_pass": float(np.median(np.diff(clock)[1:])), "fit_seconds": clock[-1] - clock[0], "rmse": rmse}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("models", nargs="*", default=list(PASSES))
    options = arguments.parse_args()
    name = "recommend/scale"
    result: dict[str, Any] = read_result(name) if result_path(name).is_file() else {}
    for model in options.models:
        for count in SIZES:
            done = subprocess.run([sys.executable, "-m", __spec__.name, "--worker", model, str(count)], capture_output=True, text=True)
            result[f"{model} {count}"] = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"error": done.stderr[-500:]}
            print(model, count, result[f"{model} {count}"], flush=True)
            record(name, result, options, continues=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2], int(sys.argv[3]))
    else:
        main()
