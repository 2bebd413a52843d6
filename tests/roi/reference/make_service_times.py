"""Measured service times for the test of the queueing estimate: single requests of artefacts on texts of their task.

    python tests/roi/reference/make_service_times.py RUN_FOLDER test.csv > tests/roi/reference/service_times.json

RUN_FOLDER is what ``imbik compress --out`` wrote; the texts are the first column of the CSV file.
"""

from __future__ import annotations

import csv
import json
import statistics
import sys
import time
from pathlib import Path

from imbik.machine import environment
from imbik.runtime.predictor import Predictor, load_artefact

REQUESTS, WARM_UP, PASSES = 600, 50, 5
CANDIDATES = ("teacher", "layers-1+int8")


def _timed(model: Predictor, text: str) -> float:
    start = time.perf_counter()
    model.predict([text])
    return (time.perf_counter() - start) * 1e3


def main(run: Path, texts_file: Path) -> None:
    """Print the JSON: candidate -> milliseconds of each text, the median of five passes, so that a busy
    machine's other work does not count as service."""
    with texts_file.open(encoding="utf-8", newline="") as stream:
        texts = [row[0] for row in csv.reader(stream)][1:]
    step = len(texts) // REQUESTS
    chosen = texts[:: max(step, 1)][:REQUESTS]
    found = {}
    for name in CANDIDATES:
        model = load_artefact(run / name / "artefacts" / "onnx")
        for text in chosen[:WARM_UP]:
            model.predict([text])
        passes = [[_timed(model, text) for text in chosen] for _ in range(PASSES)]
        found[name] = [round(statistics.median(times), 4) for times in zip(*passes, strict=True)]
    json.dump({"cpu": environment()["cpu"], "milliseconds": found}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
