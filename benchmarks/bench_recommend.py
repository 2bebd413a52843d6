"""MovieLens 100K: all models on ten random 90:10 splits, beside the peers on the same splits; writes docs/results.

IMBIK_DATA=... python benchmarks/bench_recommend.py splits /tmp/splits.npz      1. the splits, for everybody
PEER/bin/python benchmarks/bench_recommend_peers.py LIBRARY /tmp/splits.npz out.json [--tune]     2. each peer
IMBIK_DATA=... python benchmarks/bench_recommend.py ours ours.json              3. our models
python benchmarks/bench_recommend.py table ours.json peer.json ...              4. the table, with paired differences
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from imbik.recommend import random_split, read_ratings
from imbik.recommend.evaluation.comparison import compare
from imbik.recommend.evaluation.measures import paired
from imbik.recommend.models.registry import build

SPLITS = 10
# Chosen on a validation split of the training part of split 0 (seed 100); never on a test part.
OURS = {
    "global-mean": build("global-mean"), "biases": build("biases"), "item-knn": build("item-knn"),
    "truncated-svd": build("truncated-svd", rank=5), "svd": build("svd"),
    "nmf, no biases": build("nmf", biases=False), "nmf": build("nmf"), "nmf, rank 50": build("nmf", rank=50),
    "pmf fixed prior": build("pmf", prior="fixed", ridge=14.0), "pmf weighted": build("pmf", prior="weighted", ridge=0.12),
    "pmf constrained": build("pmf", prior="fixed", constrained=True, ridge=10.0, epochs=60, learning_rate=0.02),
    "pmf, no biases": build("pmf", biases=False, rank=32), "pmf": build("pmf"),
    "bpmf, no biases": build("bpmf", biases=False), "bpmf": build("bpmf"), "bpmf, rank 32": build("bpmf", rank=32),
}  # fmt: skip


def ratings() -> Any:
    return read_ratings(Path(os.environ.get("IMBIK_DATA", "../shared/data")) / "ml100k" / "u.data")


def write_splits(path: str) -> None:
    data = ratings()
    held = np.zeros((SPLITS, len(data)), bool)
    for seed in range(SPLITS):
        train, _ = random_split(data, 0.1, seed)
        kept = set((train.users.astype(int) * 10_000 + train.items).tolist())
        held[seed] = [cell not in kept for cell in (data.users.astype(int) * 10_000 + data.items).tolist()]
    np.savez_compressed(path, users=data.users, items=data.items, values=data.values, held=held)


def run_ours(path: str, names: list[str]) -> None:
    out = Path(path)
    rows = json.loads(out.read_text()) if out.exists() else []
    for name in names or OURS:
        result = compare(ratings(), [OURS[name]], splits=SPLITS)
        measures = result["models"][0]["measures"]
        splits = [{k: v["values"][s] for k, v in measures.items()} for s in range(SPLITS)]
        rows = [r for r in rows if r["name"] != name]
        rows.append({"library": "imbik", "name": name, "settings": OURS[name].settings, "splits": splits})
        print(name, *(f"{k} {v['mean']:.4f}" for k, v in measures.items()))
        out.write_text(json.dumps(rows, indent=1))


def table(paths: list[str]) -> None:
    rows = [row for path in paths for row in json.loads(Path(path).read_text())]
    best = next(r for r in rows if (r["library"], r["name"]) == ("imbik", "bpmf"))
    rows.sort(key=lambda r: float(np.mean([s["rmse"] for s in r["splits"]])))
    print("| library | model | RMSE (10 splits) | minus bpmf, paired 95 % | MAE | coverage 90 % | train s | settings |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        value = {k: np.array([s[k] for s in row["splits"]]) for k in row["splits"][0]}
        gap = paired(value["rmse"], np.array([s["rmse"] for s in best["splits"]]))
        cover = f"{value['coverage'].mean():.3f}" if "coverage" in value else "-"
        spread = value["rmse"].std(ddof=1)
        peer_settings = row["settings"] if row["library"] != "imbik" else {}
        changed = "tuned: " + ", ".join(f"{k}={v}" for k, v in peer_settings.items()) if peer_settings else "default"
        print(
            f"| {row['library']} | {row['name']} | {value['rmse'].mean():.4f} ± {spread:.4f} | {gap['difference']:+.4f} "
            f"({gap['low']:+.4f}, {gap['high']:+.4f}) | {value['mae'].mean():.4f} | {cover} | {value['train_seconds'].mean():.2f} | "
            f"{'' if row['library'] == 'imbik' else changed} |"
        )


if __name__ == "__main__":
    if sys.argv[1] == "splits":
        write_splits(sys.argv[2])
    elif sys.argv[1] == "ours":
        run_ours(sys.argv[2], sys.argv[3:])
    else:
        table(sys.argv[2:])
