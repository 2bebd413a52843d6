"""A nightly batch: seconds of `imbik predict --file`, starting and reading included, as rows and processes grow.

    python -m benchmarks.predict.run NAME TEXTS.csv ARTEFACT... [--column text] [--rows 200000 2000000] [--workers 1 2] [--rounds 3]
        [--ray local]

The rows are the texts of the file again and again; from the second time on two neighbouring words of each have changed places, so that
no text is answered from memory. Artefacts and numbers of processes take turns. Recorded are the median of the wall times, the memory of
the largest process, and that every row has been answered, in its order. The result is benchmarks/results/predict/NAME.json.
"""

from __future__ import annotations

import csv
import json
import random
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.common import in_turns, parser, record, run_imbik
from imbik.runtime import read_artefact


def varied(texts: list[str]) -> Iterator[str]:
    """Give the texts for ever, each time with two neighbouring words in each other's place."""
    yield from texts
    generator = random.Random(0)
    while True:
        for text in texts:
            words = text.split(" ")
            if len(words) > 1:
                place = generator.randrange(len(words) - 1)
                words[place], words[place + 1] = words[place + 1], words[place]
            yield " ".join(words)


def write_rows(file: Path, texts: list[str], rows: int) -> None:
    """Write a table of as many rows, numbered."""
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(("number", "text"))
        writer.writerows(enumerate(islice(varied(texts), rows)))


def answer(artefact: Path, file: Path, rows: int, workers: int, ray: str | None) -> dict[str, float]:
    """Answer a file once."""
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        out = Path(folder) / "answers.csv"
        words = ["predict", str(artefact), "--file", str(file), "--out", str(out), "--keep", "number", "--workers", str(workers)]
        words += ["--ray", ray, "--threads", "1"] if ray else []
        found = run_imbik(words, file.parent)
        with out.open(encoding="utf-8", newline="") as lines:
            numbers = [int(row["number"]) for row in csv.DictReader(lines)]
    if numbers != list(range(rows)):
        raise SystemExit(f"{artefact}: {len(numbers)} answers for {rows} rows, or in another order")
    return found


def name_of(artefact: Path) -> str:
    """Return candidate and engine, as the results name them: RUN/CANDIDATE/artefacts/ENGINE."""
    return f"{artefact.parents[1].name}/{read_artefact(artefact).engine}"


def main() -> None:
    arguments = parser(__doc__, "rounds", rounds=3)
    arguments.add_argument("name")
    arguments.add_argument("texts", type=Path)
    arguments.add_argument("artefacts", nargs="+", type=Path)
    arguments.add_argument("--column", default="text")
    arguments.add_argument("--rows", type=int, nargs="+", default=[200_000, 2_000_000])
    arguments.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    arguments.add_argument("--ray", help="address of a cluster, or local: workers are its actors, of one thread each")
    options = arguments.parse_args()
    with options.texts.open(encoding="utf-8", newline="") as lines:
        texts = [row[options.column] for row in csv.DictReader(lines)]
    runs: list[dict[str, Any]] = []
    place = Path(tempfile.mkdtemp())
    try:
        for rows in options.rows:
            file = place / f"{rows}.csv"
            write_rows(file, texts, rows)
            cells = {
                (artefact, workers): (artefact, file, rows, workers, options.ray)
                for artefact in options.artefacts
                for workers in options.workers
            }
            turns = in_turns({json.dumps((str(a), w)): lambda cell=cell: answer(*cell) for (a, w), cell in cells.items()}, options.rounds)
            for (artefact, workers), found in zip(cells, turns.values(), strict=True):
                seconds = statistics.median(one["seconds"] for one in found)
                memory = max(one["peak_rss_mib"] for one in found)
                runs.append({"model": name_of(artefact), "rows": rows, "workers": workers, "seconds": seconds, "peak_rss_mib": memory})
                print(runs[-1], flush=True)
            file.unlink()
    finally:
        shutil.rmtree(place)
    record(f"predict/{options.name}", {"texts": options.texts.name, "distinct": len(texts), "runs": runs}, options)


if __name__ == "__main__":
    main()
