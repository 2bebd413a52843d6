"""What the runtime's memory for words saves: one artefact with and without it, in turns in one process, one thread.

    python -m benchmarks.runtime.run ARTEFACT TEXTS.csv [--rounds 15] [--threads 1]

TEXTS.csv: the text in its first column, a heading above; the first 1,024 rows are used. Recorded are the median wall time of single
requests and the median processor time of a text in batches, tokenizing included.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from benchmarks.common import clock, in_turns, parser, record
from imbik.runtime import Predictor, load_artefact

_REQUESTS = 60


def single(model: Predictor, texts: list[str]) -> list[float]:
    """Return the seconds on the wall of every text asked alone."""
    times = []
    for text in texts:
        with clock() as spent:
            model.predict([text])
        times.append(spent.wall)
    return times


def together(model: Predictor, texts: list[str]) -> float:
    """Return processor seconds of a text when all are asked at once."""
    with clock() as spent:
        model.predict(texts)
    return spent.processor / len(texts)


class Turn:
    """One model's turns: other texts every time for single requests, all of them in batches."""

    def __init__(self, model: Predictor, texts: list[str]) -> None:
        self.model, self.texts, self.number = model, texts, 0
        together(model, texts)

    def __call__(self) -> tuple[list[float], float]:
        """Return the seconds of single requests, and processor seconds of a text in batches."""
        rows = [(self.number * _REQUESTS + index) % len(self.texts) for index in range(_REQUESTS)]
        self.number += 1
        single(self.model, self.texts[:10])
        alone = single(self.model, [self.texts[row] for row in rows])
        together(self.model, self.texts[:64])
        return alone, together(self.model, self.texts)


def main() -> None:
    arguments = parser(__doc__, "rounds", "threads", rounds=15)
    arguments.add_argument("artefact", type=Path)
    arguments.add_argument("texts", type=Path)
    options = arguments.parse_args()
    with options.texts.open(encoding="utf-8", newline="") as file:
        texts = [row[0] for row in csv.reader(file)][1:1025]
    models = {name: load_artefact(options.artefact, threads=options.threads) for name in ("tokenizer alone", "with the memory")}
    models["tokenizer alone"]._tokenizer._remembers = False  # every text goes through the tokenizer as a whole
    turns = in_turns({name: Turn(model, texts) for name, model in models.items()}, options.rounds)
    numbers: dict[str, dict[str, float]] = {}
    for name, rows in turns.items():
        alone, batches = np.concatenate([one for one, _ in rows]), [many for _, many in rows]
        numbers[name] = {"single_p50_ms": 1e3 * float(np.median(alone)), "batch_processor_us": 1e6 * float(np.median(batches))}
        print(name, numbers[name])
    record(f"runtime/words-{options.artefact.parent.parent.name}", numbers, options)


if __name__ == "__main__":
    main()
