"""DistilBERT, MobileBERT and TinyBERT made of one teacher, side by side, on the study's kind of tasks: trained, not only shapes.

    python -m benchmarks.literature.study --work DIR [--data banking77 …] [--minutes 25] [--core 0]

``imbik compress --recipe study`` for each data set (banking77, trec, rte, stsb and sst2 below IMBIK_DATA without ``--data``; TinyBERT with
both of its stages and augmentation), by ``benchmarks.compress.run``: a call that was killed goes on where it stopped, finished sets are
not done again. ``--teachers DIR`` takes ``DIR/SET/teacher`` where there is one. Results: benchmarks/results/compress/study-SET.json.
An hour a set, and more for SST-2. Then ``make figures``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.common import parser, result_path

SETS = ("banking77", "trec", "rte", "stsb", "sst2")


def words(options: argparse.Namespace, data: str) -> list[str]:
    """Return the call of the main job's benchmark for one data set."""
    found = ["-m", "benchmarks.compress.run", "--data", data, "--name", f"study-{data}", "--work", str(options.work), "--recipe", "study"]
    found += ["--minutes", str(options.minutes), "--core", str(options.core), "--threads", str(options.threads)]
    teacher = options.teachers / data / "teacher" if options.teachers else None
    return [*found, "--teacher", str(teacher)] if teacher is not None and teacher.is_dir() else found


def complete(data: str) -> bool:
    """Return whether a set has its result, and nothing in it was left for want of time."""
    path = result_path(f"compress/study-{data}")
    if not path.is_file():
        return False
    failures = json.loads(path.read_text(encoding="utf-8"))["numbers"]["results"].get("failures", ())
    return not any(failure.get("skipped") for failure in failures)


def main() -> None:
    arguments = parser(__doc__, "work!", "minutes", "core", "threads")
    arguments.add_argument("--data", nargs="+", default=SETS, choices=SETS)
    arguments.add_argument("--teachers", type=Path, help="folder with SET/teacher")
    options = arguments.parse_args()
    for data in options.data:
        if not complete(data):
            subprocess.run([sys.executable, *words(options, data)], check=True)


if __name__ == "__main__":
    main()
