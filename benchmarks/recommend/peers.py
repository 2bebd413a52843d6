"""Run one peer library on stored splits; executed by the Python of that library's own environment.

    PEER/bin/python benchmarks/recommend/peers.py LIBRARY splits.npz out.json [--tune] [--only NAME]

`splits.npz` (from ``run.py splits``) holds users, items, values and one mask of held-out rows per split. With `--tune`
each model tries a grid on a split of the first training part, and the best settings go to the ten splits. ``run.py keep`` records the file.
"""

# ruff: noqa: B905 (SMURFF needs Python 3.9, whose zip has no strict)
from __future__ import annotations

import argparse
import itertools
import json
import sys
import time

import numpy as np

GRIDS = {
    ("surprise", "SVD"): {"n_factors": [50, 100], "lr_all": [0.005, 0.01], "reg_all": [0.05, 0.1, 0.15], "n_epochs": [30, 60]},
    ("surprise", "NMF"): {"n_factors": [15, 30], "reg_pu": [0.06, 0.12], "reg_qi": [0.06, 0.12], "n_epochs": [50]},
    ("surprise", "NMF biased"): {"n_factors": [5, 15], "lr_bu": [0.005], "lr_bi": [0.005], "n_epochs": [30, 50]},
    ("surprise", "PMF"): {"n_factors": [20, 50], "lr_all": [0.005, 0.01], "reg_all": [0.05, 0.1], "n_epochs": [60]},
    ("cornac", "MF"): {"k": [10, 50], "learning_rate": [0.005, 0.01, 0.02], "lambda_reg": [0.02, 0.05, 0.1, 0.15],
                       "max_iter": [25, 60, 100]},
    ("cornac", "PMF"): {"k": [10], "learning_rate": [0.001, 0.003], "lambda_reg": [0.001, 0.01, 0.1], "max_iter": [100, 200]},
    ("cornac", "NMF"): {"k": [15, 30], "learning_rate": [0.005, 0.01], "lambda_reg": [0.0, 0.06, 0.2], "max_iter": [50, 100],
                        "use_bias": [False, True]},
    ("myfm", "Bayesian FM, rank 10"): {}, ("myfm", "Bayesian FM, rank 32"): {},
    ("smurff", "BPMF, rank 10"): {}, ("smurff", "BPMF, rank 10, adaptive noise"): {}, ("smurff", "BPMF, rank 32, adaptive noise"): {},
}  # fmt: skip


def surprise(name, settings, train, test):
    import pandas
    from surprise import NMF, SVD, Dataset, Reader

    frame = pandas.DataFrame({"u": train[0], "i": train[1], "r": train[2]})
    data = Dataset.load_from_df(frame, Reader(rating_scale=(1, 5))).build_full_trainset()
    base = {"SVD": SVD, "PMF": SVD, "NMF": NMF, "NMF biased": NMF}[name]
    more = {"PMF": {"biased": False}, "NMF biased": {"biased": True}}.get(name, {})
    model = base(**more, **settings, random_state=0)
    start = time.perf_counter()
    model.fit(data)
    seconds = time.perf_counter() - start
    return np.array([model.predict(u, i).est for u, i in zip(test[0], test[1])]), seconds


def cornac(name, settings, train, test):
    from cornac import models
    from cornac.data import Dataset

    data = Dataset.from_uir(list(zip(train[0].tolist(), train[1].tolist(), train[2].tolist())))
    model = getattr(models, name)(**settings, seed=0, verbose=False)
    start = time.perf_counter()
    model.fit(data)
    seconds = time.perf_counter() - start
    mean = float(train[2].mean())
    known = [(data.uid_map.get(u, -1), data.iid_map.get(i, -1)) for u, i in zip(test[0].tolist(), test[1].tolist())]
    return np.array([float(model.rate(u, i)) if u >= 0 and i >= 0 else mean for u, i in known]), seconds


def myfm(name, settings, train, test):
    import myfm as library
    import scipy.sparse as sp

    def one_hot(part):
        n = len(part[0])
        columns = np.column_stack([part[0], 2000 + part[1]]).ravel()
        return sp.csr_matrix((np.ones(2 * n), columns, np.arange(0, 2 * n + 1, 2)), shape=(n, 4000))

    model = library.MyFMGibbsRegressor(rank=int(name.split()[-1]), random_seed=0)
    start = time.perf_counter()
    x = one_hot(train)
    model.fit(x, train[2].astype(float), n_iter=250, n_kept_samples=200, group_shapes=[2000, 2000])
    seconds = time.perf_counter() - start
    return model.predict(one_hot(test)), seconds


def smurff(name, settings, train, test):
    import scipy.sparse as sp
    import smurff as library

    mean = float(train[2].mean())
    shape = (1000, 2000)
    left, right = (sp.coo_matrix((p[2].astype(float) - mean, (p[0], p[1])), shape=shape) for p in (train, test))
    noise = library.AdaptiveNoise() if "adaptive" in name else library.FixedNoise()
    rank = int(name.split("rank ")[1].split(",")[0])
    session = library.TrainSession(priors=["normal", "normal"], num_latent=rank, burnin=50, nsamples=200, num_threads=2, seed=1, verbose=0)
    session.addTrainAndTest(left.tocsr(), right.tocsr(), noise)
    start = time.perf_counter()
    predictions = session.run()
    seconds = time.perf_counter() - start
    found = {tuple(p.coords): p.pred_avg + mean for p in predictions}
    return np.array([found[(int(u), int(i))] for u, i in zip(test[0], test[1])]), seconds


def measure(run, name, settings, train, test):
    start = time.perf_counter()
    predicted, fitted = run(name, settings, train, test)
    error = np.clip(predicted, 1, 5) - test[2]
    return {
        "rmse": float(np.sqrt(np.mean(error**2))), "mae": float(np.mean(np.abs(error))),
        "train_seconds": fitted, "total_seconds": time.perf_counter() - start,
    }  # fmt: skip


def tuned(run, name, grid, train):
    held = np.zeros(len(train[0]), bool)
    held[np.random.default_rng(99).permutation(len(held))[: len(held) // 10]] = True
    parts = [p[~held] for p in train], [p[held] for p in train]
    options = [dict(zip(grid, values)) for values in itertools.product(*grid.values())]
    scored = [(measure(run, name, option, *parts)["rmse"], number) for number, option in enumerate(options)]
    for score, number in scored:
        print(f"  {score:.4f} {options[number]}", file=sys.stderr)
    return options[min(scored)[1]]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("splits")
    parser.add_argument("out")
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--only")
    parser.add_argument("--count", type=int, default=10)
    args = parser.parse_args()
    stored = np.load(args.splits)
    columns = [stored[k] for k in ("users", "items", "values")]
    run = globals()[args.library]
    result = []
    for (library, name), grid in GRIDS.items():
        if library != args.library or (args.only and args.only != name):
            continue
        masks = stored["held"][: args.count]
        settings = tuned(run, name, grid, [c[~masks[0]] for c in columns]) if args.tune and grid else {}
        rows = [measure(run, name, settings, [c[~m] for c in columns], [c[m] for c in columns]) for m in masks]
        result.append({"library": library, "name": name, "settings": settings, "splits": rows})
        print(library, name, settings, np.mean([r["rmse"] for r in rows]), np.mean([r["train_seconds"] for r in rows]))
        with open(args.out, "w") as file:
            json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
