"""The main job, measured: a teacher by ``imbik finetune``, candidates by ``imbik compress``, and what both say recorded.

    python -m benchmarks.compress.run --data banking77 --work DIR [--recipe NAME ...] [--minutes 25] [--core 0] [--threads 1]

``--data`` is a file or a folder, or the name of a folder below ``IMBIK_DATA`` (banking77, sst2, trec, rte, stsb), of any task: questions
about texts are carved by ``benchmarks.compress.articles`` first. Without ``--recipe``
compress climbs its own ladder. ``--teacher`` takes a teacher that is there instead of making one. A call that was killed goes on where
it stopped, finished steps are not done again, and ``--minutes`` begins no new recipe after that time: call again for the rest. Everything
runs on one core (``--core``, -1 for all) with ``--threads`` compute threads. The result, benchmarks/results/compress/NAME.json, is the
whole results.json without the texts in it, and the commit, seconds and command of each step.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, STARTED, parser, record, stay_on, write_json
from imbik.data import bundled_base

COLUMNS = {"trec": ["--label", "label"]}
"""Name of a data set -> the columns, where they cannot be guessed."""
MEASURING = 5.0
"""Minutes of ``--minutes`` that are kept for exporting and measuring."""


def data_path(name: str) -> Path:
    """Return the data set of a name or a path.

    Raises:
        SystemExit: there is neither.
    """
    for path in (Path(name), Path(os.environ.get("IMBIK_DATA", ROOT.parent / "shared" / "data")) / name):
        if path.exists():
            return path.resolve()
    raise SystemExit(f"no file or folder {name!r}, and none of that name below IMBIK_DATA")


def die_with_parent() -> None:
    """Ask Linux to end this process when the one that started it is killed, so that no folder stays locked by an orphan."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


class Steps:
    """Commands of one work folder, each run until it has succeeded once; what is known of each lies in ``steps.json``."""

    def __init__(self, folder: Path, threads: int) -> None:
        self.folder, self.file = folder, folder / "steps.json"
        folder.mkdir(parents=True, exist_ok=True)
        self.known: dict[str, Any] = json.loads(self.file.read_text()) if self.file.is_file() else {}
        self.environment = os.environ | {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}

    def spent(self) -> float:
        """Return the minutes of all steps so far."""
        return sum(part["seconds"] for part in self.known.values()) / 60

    def run(self, name: str, words: list[str], shown: list[str]) -> None:
        """Run ``imbik`` with ``words``; a command that fails ends the benchmark with its exit code.

        Args:
            name: of the step.
            shown: the words as they are recorded, without this machine's folders.
        """
        before = self.known.get(name, {})
        step = {"command": " ".join(["imbik", *shown]), "seconds": 0.0, "calls": before.get("calls", 0) + 1, **STARTED, "done": False}
        print(f"{name}: {step['command']}", flush=True)
        began = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "imbik", *words], env=self.environment, preexec_fn=die_with_parent)
        code: int | None = None
        while code is None:  # what was spent is on disk when this process is killed
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(timeout=10)
            spent = before.get("seconds", 0.0) + time.perf_counter() - began
            self.known[name] = step | {"seconds": round(spent, 1), "done": code == 0}
            write_json(self.file, self.known)
        if code:
            raise SystemExit(code)

    def finished(self, name: str, words: list[str]) -> bool:
        """Return whether a step has succeeded with these words."""
        known = self.known.get(name, {})
        return bool(known.get("done")) and known["command"] == " ".join(["imbik", *words])


def work(options: argparse.Namespace) -> None:
    """Make the teacher, the candidates and the record."""
    data, base = data_path(options.data), Path(options.base) if options.base else bundled_base()
    name = options.name or data.stem
    steps = Steps(options.work / name, options.threads)
    teacher, run = Path(options.teacher or steps.folder / "teacher"), steps.folder / "run"
    columns = [*COLUMNS.get(data.stem, []), *named({"task": options.task, "metric": options.metric})]
    learning = named({"epochs": options.epochs, "max-length": options.max_length})
    shown = ["finetune", "--base", base.name, "--data", data.name, "--out", "teacher", *columns, *learning]
    if not options.teacher and not steps.finished("teacher", shown):
        steps.run("teacher", ["finetune", "--base", str(base), "--data", str(data), "--out", str(teacher), *columns, *learning], shown)
    recipes = [word for name in options.recipe or [] for word in ("--recipe", name)]
    minutes = ["--minutes", f"{max(0.5, options.minutes - steps.spent() - MEASURING):.1f}"] if options.minutes < 1e8 else []
    more = [*columns, *recipes, *minutes, "--threads", str(options.threads)]
    shown = ["compress", "--teacher", "teacher", "--data", data.name, "--out", "run", *more]
    steps.run("compress", ["compress", "--teacher", str(teacher), "--data", str(data), "--out", str(run), *more], shown)
    record(f"compress/{name}", {"steps": steps.known, "results": without_texts(run / "results.json")}, options)


def named(values: dict[str, Any]) -> list[str]:
    """Return the words of the options that have a value.

    >>> named({"epochs": 3, "metric": ""})
    ['--epochs', '3']
    """
    return [word for name, value in values.items() if value for word in (f"--{name}", str(value))]


def without_texts(file: Path) -> dict[str, Any]:
    """Return a results.json without the texts of the data, the figures of single classes and this machine's folders."""
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    document.pop("disagreements", None)
    document["data"]["source"] = Path(str(document["data"].get("source", ""))).name
    for measurement in document["measurements"]:
        measurement.pop("per_class", None)
        measurement.pop("path", None)
    return document


def main() -> None:
    arguments = parser(__doc__, "data!", "work!", "base", "teacher", "minutes", "threads", "core")
    arguments.add_argument("--recipe", action="append", help="repeat for several (default: compress's own ladder)")
    arguments.add_argument("--name", default="", help="of the result (default: the data set's)")
    arguments.add_argument("--epochs", type=int, default=0, help="of the teacher (default: finetune's own)")
    arguments.add_argument("--max-length", type=int, default=0, help="of the teacher's texts, in tokens (default: finetune's own)")
    arguments.add_argument("--task", default="", help="of the data (default: guessed)")
    arguments.add_argument("--metric", default="", help="what quality is stated in (default: the task's)")
    options = arguments.parse_args()
    stay_on(options.core)
    work(options)


if __name__ == "__main__":
    main()
