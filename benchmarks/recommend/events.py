"""Last.fm: logistic PMF and weighted ALS against implicit's, chosen on valid.txt, fitted on train + valid, judged on test.txt.

    PEER/bin/python benchmarks/recommend/events_peer.py FOLDER factors.npz              fits implicit's models
    python -m benchmarks.recommend.events FOLDER factors.npz                            ours, and the same judge for both

Run both twice: the first round chooses settings (events-implicit.json and events-imbik.json among the results, and factors.json for the
peer), the second fits the chosen ones on train + valid. The peer only stores factors; every number comes from
imbik.recommend.evaluate, which the peer's factors enter as a model.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks.common import clock, parser, read_result, record
from benchmarks.recommend.events_peer import GRID, SEEDS, options, pairs
from imbik.recommend import Ratings, evaluate
from imbik.recommend.models.registry import build

OURS = {
    "logistic": {"rank": [30], "ridge": [3.0, 4.0, 5.0], "negatives": [10], "bias_ridge": [1.0, 3.0]},
    "als": {"rank": [32], "ridge": [1.0, 5.0, 20.0], "alpha": [3.0, 10.0, 30.0]},
}


def as_model(train, users, items):
    """A fitted model of ours that holds the peer's factors."""
    model = build("als", rank=2, epochs=1, conjugate_steps=1).fit(train)
    rows = [users[train.user_ids.astype(int)], items[train.item_ids.astype(int)]]
    model._keep(*rows, 0.0, False)
    return model


def judge(folder, factors):
    """Judge every model on valid.txt (first round, no settings chosen yet) or test.txt; return whether it was the last round, and rows."""
    final = factors.with_suffix(".json").exists()
    train = Ratings.of(*pairs(folder, *(["train.txt", "valid.txt"] if final else ["train.txt"])))
    test = Ratings.of(*pairs(folder, "test.txt" if final else "valid.txt"))
    stored, rows = np.load(factors), []
    for name in GRID:
        chosen = options(GRID[name])
        for number in range(SEEDS if final else len(chosen)):
            model = as_model(train, stored[f"{name}.{number}.users"], stored[f"{name}.{number}.items"])
            settings = {} if final else chosen[number]
            seconds = float(stored[f"{name}.{number}.seconds"])
            rows.append(("implicit", name, settings, {**evaluate(model, test, k=20), "seconds": seconds}))
    asked = read_result("recommend/events-imbik") if final else None
    for name, grid in OURS.items():
        for number, settings in enumerate([asked[name]] * SEEDS if asked else options(grid)):
            model = build(name, **settings, seed=number if asked else 0)
            with clock() as spent:
                model.fit(train)
            rows.append(("imbik", name, settings, {**evaluate(model, test, k=20), "seconds": spent.wall}))
    for name in ("most-popular", "item-knn"):
        rows.append(("imbik", name, {}, evaluate(build(name).fit(train), test, k=20)))
    return final, rows


def best(rows, library):
    """Return the settings of each model with the best NDCG@20."""
    return {n: max((r for r in rows if r[:2] == (library, n)), key=lambda r: r[3]["ndcg"])[2] for n in GRID}


def main():
    arguments = parser(__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("factors", type=Path)
    given = arguments.parse_args()
    final, rows = judge(given.folder, given.factors)
    if final:
        record("recommend/events", rows, given)
        return
    for library in ("implicit", "imbik"):
        record(f"recommend/events-{library}", best(rows, library), given)
    given.factors.with_suffix(".json").write_text(json.dumps(best(rows, "implicit")))


if __name__ == "__main__":
    main()
