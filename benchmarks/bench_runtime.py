"""What the runtime's memory for words saves: one artefact with and without it, in turns in one process, one thread.

    python benchmarks/bench_runtime.py ARTEFACT TEXTS.csv [--rounds 15] [--threads 1]

TEXTS.csv: the text in its first column, a heading above; the first 1,024 rows are used. Printed are the median wall time of single
requests and the median processor time of a text in batches, tokenizing included.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np

from imbik.runtime.predictor import Predictor, load_artefact

_REQUESTS = 60


def single(model: Predictor, texts: list[str]) -> list[float]:
    times = []
    for text in texts:
        began = time.perf_counter()
        model.predict([text])
        times.append(time.perf_counter() - began)
    return times


def together(model: Predictor, texts: list[str]) -> float:
    began = time.process_time()
    model.predict(texts)
    return (time.process_time() - began) / len(texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artefact", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    with args.texts.open(encoding="utf-8", newline="") as file:
        texts = [row[0] for row in csv.reader(file)][1:1025]
    models = {name: load_artefact(args.artefact, threads=args.threads) for name in ("tokenizer alone", "with the memory")}
    models["tokenizer alone"]._tokenizer.forget()
    one: dict[str, list[float]] = {name: [] for name in models}
    many: dict[str, list[float]] = {name: [] for name in models}
    for model in models.values():
        together(model, texts)
    for number in range(args.rounds):
        rows = [(number * _REQUESTS + index) % len(texts) for index in range(_REQUESTS)]
        for name, model in list(models.items())[:: 1 if number % 2 else -1]:
            single(model, texts[:10])
            one[name] += single(model, [texts[row] for row in rows])
            together(model, texts[:64])
            many[name].append(together(model, texts))
    for name in models:
        wall, processor = 1e3 * np.median(one[name]), 1e6 * np.median(many[name])
        print(f"{name}: one request p50 {wall:.4f} ms; in batches {processor:.1f} µs of processor time a text")


if __name__ == "__main__":
    main()
