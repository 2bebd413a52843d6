"""Last.fm: logistic PMF and weighted ALS against implicit's, chosen on valid.txt, fitted on train + valid, judged on test.txt.

    PEER/bin/python benchmarks/bench_recommend_events.py peer FOLDER factors.npz     fits implicit's models
    python benchmarks/bench_recommend_events.py judge FOLDER factors.npz out.json    ours, and the same judge for both

Run both twice: the first round chooses settings (and writes factors.json, out.ours.json), the second fits the chosen ones.

The peer only stores factors; every number comes from imbik.recommend.evaluate, which the peer's factors enter as a model.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from pathlib import Path

import numpy as np

GRID = {
    "logistic": {"factors": [30], "iterations": [30, 60], "regularization": [0.6, 2.0, 6.0], "neg_prop": [30]},
    "als": {"factors": [32], "iterations": [15], "regularization": [1.0, 5.0, 20.0], "alpha": [3.0, 10.0, 30.0]},
}  # fmt: skip
OURS = {
    "logistic": {"rank": [30], "ridge": [3.0, 4.0, 5.0], "negatives": [10], "bias_ridge": [1.0, 3.0]},
    "als": {"rank": [32], "ridge": [1.0, 5.0, 20.0], "alpha": [3.0, 10.0, 30.0]},
}
SEEDS = 5


def pairs(folder, *names):
    users, items = [], []
    for name in names:
        for line in (Path(folder) / name).read_text().splitlines():
            user, *own = map(int, line.split())
            users += [user] * len(own)
            items += own
    return np.array(users), np.array(items)


def options(grid):
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def peer(folder, out):
    """First call: every setting on train. After `judge` has chosen one: that setting with SEEDS seeds on train + valid."""
    import scipy.sparse as sp
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.cpu.lmf import LogisticMatrixFactorization

    kinds = {"logistic": LogisticMatrixFactorization, "als": AlternatingLeastSquares}
    wanted = json.loads(Path(out).with_suffix(".json").read_text()) if Path(out).with_suffix(".json").exists() else None
    stored = {}
    for name, kind in kinds.items():
        chosen = options(GRID[name]) if wanted is None else [wanted[name]] * SEEDS
        users, items = pairs(folder, "train.txt") if wanted is None else pairs(folder, "train.txt", "valid.txt")
        matrix = sp.csr_matrix((np.ones(len(users), np.float32), (users, items)))
        for number, settings in enumerate(chosen):
            start = time.perf_counter()
            model = kind(**settings, num_threads=2, random_state=number if wanted else 0)
            model.fit(matrix, show_progress=False)
            stored[f"{name}.{number}.seconds"] = time.perf_counter() - start
            stored[f"{name}.{number}.users"], stored[f"{name}.{number}.items"] = model.user_factors, model.item_factors
    np.savez(out, **stored)


def as_model(train, users, items):
    """A fitted model of ours that holds the peer's factors."""
    from imbik.recommend.models.registry import build

    model = build("als", rank=2, epochs=1, conjugate_steps=1).fit(train)
    rows = [users[train.user_ids.astype(int)], items[train.item_ids.astype(int)]]
    model._keep(*rows, 0.0, False)
    return model


def judge(folder, factors, out):
    from imbik.recommend import Ratings, evaluate
    from imbik.recommend.models.registry import build

    final = Path(factors).with_suffix(".json").exists()
    train = Ratings.of(*pairs(folder, *(["train.txt", "valid.txt"] if final else ["train.txt"])))
    test = Ratings.of(*pairs(folder, "test.txt" if final else "valid.txt"))
    stored, rows = np.load(factors), []
    for name in GRID:
        chosen = options(GRID[name])
        for number in range(SEEDS if final else len(chosen)):
            model = as_model(train, stored[f"{name}.{number}.users"], stored[f"{name}.{number}.items"])
            found = evaluate(model, test, k=20)
            settings = {} if final else chosen[number]
            rows.append(("implicit", name, settings, {**found, "seconds": float(stored[f"{name}.{number}.seconds"])}))
    asked = json.loads(Path(out).with_suffix(".ours.json").read_text()) if final else None
    for name, grid in OURS.items():
        for number, settings in enumerate([asked[name]] * SEEDS if asked else options(grid)):
            model = build(name, **settings, seed=number if asked else 0)
            start = time.perf_counter()
            model.fit(train)
            seconds = time.perf_counter() - start
            rows.append(("imbik", name, settings, {**evaluate(model, test, k=20), "seconds": seconds}))
    for name in ("most-popular", "item-knn"):
        rows.append(("imbik", name, {}, evaluate(build(name).fit(train), test, k=20)))
    report(rows, final, factors, out)


def report(rows, final, factors, out):
    for library, name in dict.fromkeys((r[0], r[1]) for r in rows):
        own = [r for r in rows if r[:2] == (library, name)]
        if not final:
            best = max(own, key=lambda r: r[3]["ndcg"])
            print(library, name, "chosen by NDCG@20 on valid:", best[2], {k: round(v, 4) for k, v in best[3].items()})
            continue
        values = {k: np.array([r[3][k] for r in own]) for k in own[0][3]}
        print(library, name, {k: f"{v.mean():.4f} ± {v.std():.4f}" for k, v in values.items()})
    if not final:
        for library, path in (("implicit", Path(factors).with_suffix(".json")), ("imbik", Path(out).with_suffix(".ours.json"))):
            best = {n: max((r for r in rows if r[:2] == (library, n)), key=lambda r: r[3]["ndcg"])[2] for n in GRID}
            path.write_text(json.dumps(best))
    Path(out).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    peer(*sys.argv[2:]) if sys.argv[1] == "peer" else judge(*sys.argv[2:])
