"""Artefacts of a run beside the small classifiers that others make: accuracy, texts a second, one request, bytes.

    python -m benchmarks.rivals.run --data banking77 --artefacts WORK/banking77/run --peer PEER_PYTHON --work DIR
        [--candidate NAME/ENGINE ...] [--rounds 7] [--core 0]

Every model answers in a process of its own, all in turn, in every round anew, on one core (``models.py`` says how, and what the peers'
environment needs). Peers are trained once, on the rows that the run's students learned from, with its dev. The result,
benchmarks/results/rivals/NAME.json, holds medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import clock, in_turns, parser, record, stay_on, write_json
from benchmarks.compress.run import COLUMNS, data_path
from benchmarks.rivals.models import OPEN
from imbik.data import bundled_base, load_data
from imbik.runtime import read_artefact
from imbik.runtime.manifest import read_manifest
from imbik.tasks.intervals import bootstrap_interval
from imbik.types import Examples

SCRIPT = Path(__file__).with_name("models.py")
PEERS = [kind for kind in OPEN if kind != "imbik"]
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def rows_of(rows: Examples, labels: Sequence[str]) -> dict[str, list[str]]:
    """Return texts and names of labels."""
    return {"texts": list(rows.texts), "labels": [labels[int(target)] for target in rows.targets]}


def trained(kind: str, options: argparse.Namespace, rows: Path) -> dict[str, Any]:
    """Train a peer, or find it trained; return its folder and the seconds it took."""
    folder = options.work / kind
    note = folder / "seconds.json"
    if not note.is_file():
        base = {"model2vec": bundled_base(), "model2vec-int8": options.work / "model2vec" / "model"}.get(kind)
        words = [options.peer, str(SCRIPT), "train", kind, str(rows), str(folder / "model"), *(["--base", str(base)] if base else [])]
        with clock() as spent:
            subprocess.run(words, check=True, env=ONE_THREAD, stdout=subprocess.DEVNULL)
        write_json(note, {"seconds": spent.wall})
        print(kind, f"{spent.wall:.0f} s", flush=True)
    return {"model": folder / "model", "seconds": json.loads(note.read_text())["seconds"]}


def asked(python: str, kind: str, model: Path, rows: Path) -> dict[str, Any]:
    """Ask a model once, in a process of its own."""
    done = subprocess.run([python, str(SCRIPT), "ask", kind, str(model), str(rows)], check=True, env=ONE_THREAD, stdout=subprocess.PIPE)
    return dict(json.loads(done.stdout))


def judged(rounds: list[dict[str, Any]], gold: list[str]) -> dict[str, Any]:
    """Return accuracy with its interval, and the medians of the times."""
    right = np.array([answer == label for answer, label in zip(rounds[0]["answers"], gold, strict=True)])
    columns = np.stack([right, ~right], axis=1).astype(float)
    low, high = bootstrap_interval("accuracy", columns, np.zeros(len(right), int), "classification")
    batches = [round_["batch"] for round_ in rounds]
    return {
        "accuracy": {"value": float(right.mean()), "low": low, "high": high},
        "p50_ms": 1000 * statistics.median(round_["single"] for round_ in rounds),
        "texts_per_s": 1 / statistics.median(batches),
        "rounds": [round(1 / seconds) for seconds in batches],
    }


def size(folder: Path) -> int:
    """Return the bytes of all files below a peer's folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def chosen(options: argparse.Namespace) -> Mapping[str, Path]:
    """Return the artefacts that take part: those named, else each candidate's fastest of the run."""
    if options.candidate:
        return {name: options.artefacts / Path(name).parent / "artefacts" / Path(name).name for name in options.candidate}
    results = json.loads((options.artefacts / "results.json").read_text(encoding="utf-8"))
    best: dict[str, dict[str, Any]] = {}
    for one in results["measurements"]:
        path = options.artefacts / one["name"] / "artefacts" / one["engine"]
        speed = one["throughput"]["items_per_s"]
        if path.is_dir() and speed > best.get(one["name"], {"speed": 0.0})["speed"]:
            best[one["name"]] = {"speed": speed, "engine": one["engine"], "path": path}
    return {f"{name}/{one['engine']}": one["path"] for name, one in best.items()}


def main() -> None:
    arguments = parser(__doc__, "data!", "rounds", "core", "work!", rounds=7)
    arguments.add_argument("--artefacts", type=Path, required=True, help="the folder of a run of `imbik compress`")
    arguments.add_argument("--candidate", action="append", help="NAME/ENGINE of it, repeated; default: all, by their fastest engines")
    arguments.add_argument("--peer", required=True, help="the Python of the peers' environment")
    options = arguments.parse_args()
    options.threads = 1
    stay_on(options.core)
    data = data_path(options.data)
    artefacts = chosen(options)
    labels = read_manifest(next(iter(artefacts.values())))["labels"]
    columns = {"label": COLUMNS[data.stem][1]} if data.stem in COLUMNS else {}
    splits = load_data(data, labels=labels, **columns)
    options.work.mkdir(parents=True, exist_ok=True)
    rows = options.work / "rows.json"
    write_json(rows, {part: rows_of(getattr(splits, part), labels) for part in ("train", "dev", "test")})
    peers = {kind: trained(kind, options, rows) for kind in PEERS}
    runs = {name: partial(asked, sys.executable, "imbik", path, rows) for name, path in artefacts.items()}
    runs |= {kind: partial(asked, options.peer, kind, peer["model"], rows) for kind, peer in peers.items()}
    gold = rows_of(splits.test, labels)["labels"]
    found = {name: judged(rounds, gold) for name, rounds in in_turns(runs, options.rounds).items()}
    for name, path in artefacts.items():
        found[name] |= {"bytes": read_artefact(path).bytes, "peer": False}
    for kind, peer in peers.items():
        found[kind] |= {"bytes": size(peer["model"]), "peer": True, "seconds": peer["seconds"]}
    versions = subprocess.run([options.peer, "-m", "pip", "freeze"], check=True, capture_output=True, text=True).stdout.split()
    kept = [line for line in versions if line.startswith(("model2vec", "fasttext"))]
    record(f"rivals/{data.stem}", {"rows": len(gold), "versions": kept, "models": found}, options)


if __name__ == "__main__":
    main()
