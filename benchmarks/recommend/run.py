"""MovieLens 100K: all models on ten random 90:10 splits, beside the peers on the same splits.

    export IMBIK_DATA=FOLDER                       # holds ml100k/u.data
    python -m benchmarks.recommend.run splits splits.npz                                            # 1. for everybody
    PEER/bin/python benchmarks/recommend/peers.py LIBRARY splits.npz peer.json [--tune]        # 2. each peer
    python -m benchmarks.recommend.run keep NAME peer.json                                          # 3. as quality-NAME
    python -m benchmarks.recommend.run ours [MODEL ...]                                                  # 4. our models

Results: benchmarks/results/recommend/quality-*.json; table.py makes the table, with paired differences.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import parser, read_result, record, result_path
from imbik.recommend import compare, random_split, read_ratings
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


def data_folder() -> Path:
    """Return the folder of the data sets: ``IMBIK_DATA``."""
    return Path(os.environ.get("IMBIK_DATA", "../shared/data"))


def ratings() -> Any:
    return read_ratings(data_folder() / "ml100k" / "u.data")


def write_splits(options: argparse.Namespace) -> None:
    """Write users, items, values and one mask of held-out rows per split."""
    data = ratings()
    held = np.zeros((SPLITS, len(data)), bool)
    for seed in range(SPLITS):
        train, _ = random_split(data, 0.1, seed)
        kept = set((train.users.astype(int) * 10_000 + train.items).tolist())
        held[seed] = [cell not in kept for cell in (data.users.astype(int) * 10_000 + data.items).tolist()]
    np.savez_compressed(options.file, users=data.users, items=data.items, values=data.values, held=held)


def run_ours(options: argparse.Namespace) -> None:
    """Fit and judge our models; each is recorded when it is done."""
    name = "recommend/quality-imbik"
    rows = read_result(name) if result_path(name).is_file() else []
    for model in options.models or OURS:
        result = compare(ratings(), [OURS[model]], splits=SPLITS)
        measures = result["models"][0]["measures"]
        splits = [{k: v["values"][s] for k, v in measures.items()} for s in range(SPLITS)]
        rows = [row for row in rows if row["name"] != model]
        rows.append({"library": "imbik", "name": model, "settings": OURS[model].settings, "splits": splits})
        print(model, *(f"{k} {v['mean']:.4f}" for k, v in measures.items()))
        record(name, rows, options, continues=True)


def keep(options: argparse.Namespace) -> None:
    """Record what a peer measured in its own environment."""
    record(f"recommend/quality-{options.name}", json.loads(options.file.read_text()), options)


def main() -> None:
    arguments = parser(__doc__)
    commands = arguments.add_subparsers(required=True)
    splits, peer, ours = commands.add_parser("splits"), commands.add_parser("keep"), commands.add_parser("ours")
    splits.set_defaults(run=write_splits)
    splits.add_argument("file", type=Path)
    peer.set_defaults(run=keep)
    peer.add_argument("name")
    peer.add_argument("file", type=Path)
    ours.set_defaults(run=run_ours)
    ours.add_argument("models", nargs="*")
    options = arguments.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
