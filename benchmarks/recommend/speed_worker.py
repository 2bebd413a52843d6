"""Time one library's sweeps; executed by the Python of that library's own environment (imbik's own for ``imbik``).

    PYTHON benchmarks/recommend/speed_worker.py LIBRARY TASK RANK FILE

A process warms up, then times a short and a long run; the difference of the two divided by the difference of their lengths is the time
of a sweep, free of set-up. It is processor time of one thread, because a clock on the wall would measure what else runs on the machine.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

LENGTHS = {"gibbs": (20, 80), "logistic": (5, 15), "als-cg": (5, 35), "als-cholesky": (5, 25)}


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


if __name__ == "__main__":
    worker(*sys.argv[1:])
