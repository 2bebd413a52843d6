"""Processor milliseconds a sweep on MovieLens 100K and Last.fm, ours and the peers' by turns, same rank, one thread each.

    python bench_recommend_speed.py splits.npz lastfm/train.txt out.json imbik=PYTHON smurff=PYTHON myfm=PYTHON implicit=PYTHON [TASK ...]

Every round starts each library once in its own process. A process warms up, then times a short and a long run; the difference
of the two divided by the difference of their lengths is the time of a sweep, free of set-up. Medians over the rounds. It is
processor time of one thread, because a clock on the wall would measure what else runs on the machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

TASKS = [("gibbs", 10, ("imbik", "smurff", "myfm")), ("gibbs", 32, ("imbik", "smurff", "myfm")),
         ("logistic", 32, ("imbik", "implicit")), ("als-cg", 32, ("imbik", "implicit")), ("als-cg", 64, ("imbik", "implicit")),
         ("als-cholesky", 32, ("imbik", "implicit")), ("als-cholesky", 64, ("imbik", "implicit"))]  # fmt: skip
LENGTHS = {"gibbs": (20, 80), "logistic": (5, 15), "als-cg": (5, 35), "als-cholesky": (5, 25)}
ROUNDS = 3


def ours(task, rank, path):
    from imbik.recommend.data.ratings import Ratings
    from imbik.recommend.models.registry import build

    if task == "gibbs":
        stored = np.load(path)
        rows = ~stored["held"][0]
        data = Ratings.of(*(stored[k][rows] for k in ("users", "items", "values")))
        return lambda n: build("bpmf", rank=rank, burn_in=n - 1, samples=1, threads=1).fit(data)
    users, items = events(path)
    data = Ratings.of(users, items)
    if task == "logistic":
        return lambda n: build("logistic", rank=rank, epochs=n, threads=1).fit(data)
    steps = 3 if task == "als-cg" else 0
    return lambda n: build("als", rank=rank, epochs=n, conjugate_steps=steps, threads=1).fit(data)


def smurff(task, rank, path):
    import scipy.sparse as sp
    import smurff as library

    stored = np.load(path)
    users, items, values = (stored[k] for k in ("users", "items", "values"))
    held = stored["held"][0]
    few = np.flatnonzero(held)[:10]  # the library wants a test matrix; ten cells cost nothing
    full, few = (sp.coo_matrix((values[m] - 3.53, (users[m], items[m])), shape=(943, 1682)).tocsr() for m in (~held, few))

    def run(n):
        options = {"num_latent": rank, "burnin": n - 1, "nsamples": 1, "num_threads": 1, "seed": 1, "verbose": 0}
        session = library.TrainSession(priors=["normal", "normal"], **options)
        session.addTrainAndTest(full, few, library.AdaptiveNoise())
        session.run()

    return run


def myfm(task, rank, path):
    import myfm as library
    import scipy.sparse as sp

    stored = np.load(path)
    rows = ~stored["held"][0]
    n = int(rows.sum())
    columns = np.column_stack([stored["users"][rows], 943 + stored["items"][rows]]).ravel()
    x = sp.csr_matrix((np.ones(2 * n), columns, np.arange(0, 2 * n + 1, 2)))
    y = stored["values"][rows].astype(float)
    return lambda n: library.MyFMGibbsRegressor(rank=rank, random_seed=0).fit(x, y, n_iter=n, n_kept_samples=1)


def implicit(task, rank, path):
    import scipy.sparse as sp
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.cpu.lmf import LogisticMatrixFactorization

    users, items = events(path)
    data = sp.csr_matrix((np.ones(len(users), np.float32), (users, items)))
    if task == "logistic":
        return lambda n: LogisticMatrixFactorization(factors=rank, iterations=n, num_threads=1).fit(data, show_progress=False)
    options = {"factors": rank, "num_threads": 1, "use_cg": task == "als-cg", "alpha": 10.0, "regularization": 5.0}
    return lambda n: AlternatingLeastSquares(iterations=n, **options).fit(data, show_progress=False)


def events(path):
    users, items = [], []
    with open(path) as file:
        for line in file:
            user, *own = map(int, line.split())
            users += [user] * len(own)
            items += own
    return np.array(users), np.array(items)


def worker(library, task, rank, path):
    run = {"imbik": ours, "smurff": smurff, "myfm": myfm, "implicit": implicit}[library](task, int(rank), path)
    run(2)
    seconds = []
    for length in LENGTHS[task]:
        start = time.process_time()
        run(length)
        seconds.append(time.process_time() - start)
    short, long = LENGTHS[task]
    print(json.dumps({"ms": 1000 * (seconds[1] - seconds[0]) / (long - short), "long_seconds": seconds[1]}))


def main():
    splits, lastfm, out, *rest = sys.argv[1:]
    paths = dict(text.split("=", 1) for text in rest if "=" in text)
    wanted = [text for text in rest if "=" not in text]
    result = json.loads(Path(out).read_text()) if Path(out).exists() else {}
    for task, rank, libraries in TASKS:
        if wanted and task not in wanted:
            continue
        times = {library: [] for library in libraries if library in paths}
        for _ in range(ROUNDS):
            for library in times:
                command = [paths[library], __file__, "--worker", library, task, str(rank), splits if task == "gibbs" else lastfm]
                done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
                if done.returncode:
                    raise SystemExit(f"{library} failed: {done.stderr[-2000:]}")
                times[library].append(json.loads(done.stdout.splitlines()[-1])["ms"])
        result[f"{task} {rank}"] = times
        print(task, rank, {k: f"{np.median(v):.1f} ms ({min(v):.1f}-{max(v):.1f})" for k, v in times.items()}, flush=True)
    with open(out, "w") as file:
        json.dump(result, file, indent=1)


if __name__ == "__main__":
    worker(*sys.argv[2:]) if sys.argv[1] == "--worker" else main()
