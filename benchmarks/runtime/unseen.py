"""Throughput on texts that were read before, on other texts of the task, and at first sight, in turns in one process, one thread.

    python -m benchmarks.runtime.unseen NAME DATA ARTEFACT... [--rounds 5] [--threads 1]

The first state is how imbik measured up to 52c9605: the same texts again and again. The second and third are what it states now,
``items_per_s`` and ``first_sight_per_s``. Recorded are texts a second, the median of the rounds, in batches of 2,048 tokens.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.common import in_turns, parser, record
from imbik.data.load import load_data
from imbik.measure.timing import write_sample
from imbik.measure.worker import Worker


def main() -> None:
    arguments = parser(__doc__, "rounds", "threads", rounds=5)
    arguments.add_argument("name")
    arguments.add_argument("data")
    arguments.add_argument("artefacts", nargs="+", type=Path)
    options = arguments.parse_args()
    splits = load_data(options.data, say=lambda line: None)
    numbers: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as place:
        sample = write_sample(Path(place), splits.test, splits.dev)
        numbers |= {"timed": sample.count, "read_before": sample.read}
        for artefact in options.artefacts:
            worker = Worker(str(artefact), options.threads)
            worker.throughput(str(sample.rows), sample.count, 2048, 0.0)

            def turn(before: str | None, worker: Worker = worker) -> Callable[[], float]:
                def ask() -> float:
                    found = worker.throughput(str(sample.rows), sample.count, 2048, 0.3, before)
                    return float(found["items"] / found["wall"])

                return ask

            states = {"same": turn(str(sample.rows)), "other": turn(sample.warm), "first sight": turn(None)}
            rates = {state: statistics.median(found) for state, found in in_turns(states, options.rounds).items()}
            numbers[f"{artefact.parent.parent.name}/{artefact.name}"] = rates
            print(artefact, rates)
    record(f"runtime/unseen-{options.name}", numbers, options)


if __name__ == "__main__":
    main()
