"""``python -m imbik.measure.module_worker FOLDER THREADS``: one module's artefact in a process of its own, asked as the worker of texts is.

Arrays travel in a file, ``.npz`` with an array for each input.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from imbik.measure.worker import WARM_REQUESTS, answer_requests, peak_rss_bytes
from imbik.runtime.modules import Array, ModuleArtefact, load_module


class ModuleWorker:
    """What the requests do; each method is named after a request and takes its fields."""

    def __init__(self, folder: str, threads: int) -> None:
        self.artefact: ModuleArtefact = load_module(folder, threads=threads)
        self._rows: dict[str, dict[str, Array]] = {}

    def predict(self, rows: str) -> dict[str, Any]:
        """Answer the first row of a file; the first answer of a process is its cold start."""
        self._ask(rows, 0, 1)
        return {"count": 1}

    def warm_up(self) -> dict[str, Any]:
        """Do nothing: the requests that are not counted prepare the one shape that there is."""
        return {"shapes": 1}

    def latency(self, rows: str, start: int, count: int, before: str | None = None) -> dict[str, Any]:
        """Milliseconds of ``count`` requests of one row each; ``before`` means nothing to arrays."""
        size = self._size(rows)
        times = []
        # the first few, with negative numbers, are not counted: after a pause caches are cold
        for index in range(-WARM_REQUESTS, count):
            place = (start + index) % size
            begin = time.perf_counter()
            self._ask(rows, place, place + 1)
            times.append((time.perf_counter() - begin) * 1000)
        return {"ms": times[WARM_REQUESTS:], "tokens": [1] * count}

    def throughput(self, rows: str, count: int, budget: int, seconds: float, before: str | None = None) -> dict[str, Any]:
        """Answer ``count`` rows in batches of ``budget``, again until ``seconds`` passed: items, wall and processor time, mean batch."""
        self._load(rows)
        items, wall, cpu, batches = 0, 0.0, 0.0, 0
        while items == 0 or wall < seconds:
            begin, used = time.perf_counter(), time.process_time()
            for start in range(0, count, budget):
                self._ask(rows, start, min(start + budget, count))
                batches += 1
            wall, cpu = wall + time.perf_counter() - begin, cpu + time.process_time() - used
            items += count
        return {"items": items, "wall": wall, "cpu": cpu, "batch": items / batches}

    def facts(self) -> dict[str, Any]:
        """What the manifest says, and the memory that the process has taken so far."""
        return {"peak_rss_bytes": peak_rss_bytes(), "manifest": dict(self.artefact.manifest)}

    def _ask(self, rows: str, start: int, stop: int) -> None:
        self.artefact(**{name: array[start:stop] for name, array in self._load(rows).items()})

    def _size(self, rows: str) -> int:
        return len(next(iter(self._load(rows).values())))

    def _load(self, path: str) -> dict[str, Array]:
        if path not in self._rows:
            with np.load(path) as file:
                self._rows[path] = {name: file[name] for name in file.files}
        return self._rows[path]


if __name__ == "__main__":
    answer_requests(lambda: ModuleWorker(sys.argv[1], int(sys.argv[2])))
