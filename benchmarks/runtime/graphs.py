"""Two artefacts of one checkpoint, exported by two commits: answers and speed, in turns in one process, one thread.

    python -m benchmarks.runtime.graphs BEFORE AFTER NAME TEXTS.csv [--commit SHA] [--rounds 15] [--threads 1]

TEXTS.csv: the text in its first column, a heading above, the label in its second; the first 1,024 rows are used. Recorded are the
accuracy of both, how far their logits are apart, the median wall time of single requests and the median processor time of a text in
batches, tokenizing included. ``--commit`` is what BEFORE was exported by.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from benchmarks.common import in_turns, parser, record
from benchmarks.runtime.run import Turn
from imbik.runtime import load_artefact


def main() -> None:
    arguments = parser(__doc__, "rounds", "threads", rounds=15)
    for name in ("before", "after"):
        arguments.add_argument(name, type=Path)
    arguments.add_argument("name")
    arguments.add_argument("texts", type=Path)
    arguments.add_argument("--commit", default="", help="that exported BEFORE")
    options = arguments.parse_args()
    with options.texts.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:1025]
    texts, gold = [row[0] for row in rows], [row[1] for row in rows]
    models = {name: load_artefact(getattr(options, name), threads=options.threads) for name in ("before", "after")}
    logits = {name: np.asarray(model.scores(texts)) for name, model in models.items()}
    turns = in_turns({name: Turn(model, texts) for name, model in models.items()}, options.rounds)
    numbers: dict[str, object] = {"texts": len(texts), "before_commit": options.commit}
    for name, model in models.items():
        alone, batches = np.concatenate([one for one, _ in turns[name]]), [many for _, many in turns[name]]
        single, batch = 1e6 * float(np.median(alone)), 1e6 * float(np.median(batches))
        right = [model.labels[column] == label for column, label in zip(logits[name].argmax(1), gold, strict=True)]
        size = sum(int(entry["bytes"]) for entry in model.manifest["files"].values())
        numbers[name] = {"single_p50_us": single, "batch_us": batch, "texts_per_s": 1e6 / batch, "accuracy": np.mean(right), "bytes": size}
        print(name, numbers[name])
    gap = np.abs(logits["before"] - logits["after"]).max() / np.abs(logits["before"]).max()
    numbers["gap_of_largest"] = float(gap)
    numbers["agreement"] = float(np.mean(logits["before"].argmax(1) == logits["after"].argmax(1)))
    print(numbers["gap_of_largest"], numbers["agreement"])
    record(f"runtime/graphs-{options.name}", numbers, options)


if __name__ == "__main__":
    main()
