"""Fit implicit's models on Last.fm; executed by the Python of implicit's own environment (imbik is not imported).

    PEER/bin/python benchmarks/recommend/events_peer.py FOLDER factors.npz

First call: every setting on train. After ``events.py`` has chosen one (factors.json): that setting with five seeds on train + valid.
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
SEEDS = 5


def pairs(folder, *names):
    """Return users and items of all events."""
    users, items = [], []
    for name in names:
        for line in (Path(folder) / name).read_text().splitlines():
            user, *own = map(int, line.split())
            users += [user] * len(own)
            items += own
    return np.array(users), np.array(items)


def options(grid):
    """Return every combination of a grid."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def peer(folder, out):
    """Store factors and seconds of every fit."""
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


if __name__ == "__main__":
    peer(*sys.argv[1:])
