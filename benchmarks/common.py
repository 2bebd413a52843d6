"""What every benchmark shares: where results go, what is written beside the numbers, turns, clocks and the parser.

A result file is ``benchmarks/results/ROOM/NAME.json``:

* ``commit``: the commit that was measured. Files from before this module existed have ``{"stored_by": SHA}``: the
  commit that added the numbers to the repository, which says by when they were measured and no more.
* ``recorded``: true where this module wrote the file during the measurement, false for those older files.
* ``dirty``: whether tracked files differed from that commit (null: nobody looked).
* ``environment``: processor, its flags, cores, threads, memory, system, versions (null: not known).
* ``command``, ``date``, ``numbers``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imbik.machine import environment

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def result_path(name: str) -> Path:
    """Return the file of a result such as ``training/speed``."""
    return RESULTS / f"{name}.json"


def read_result(name: str) -> Any:
    """Return the numbers of a result.

    Raises:
        FileNotFoundError: nobody has measured it.
    """
    return json.loads(result_path(name).read_text(encoding="utf-8"))["numbers"]


def origin(name: str) -> str:
    """Return a line for a page: commit, date and machine of a recorded result."""
    document = json.loads(result_path(name).read_text(encoding="utf-8"))
    machine = document["environment"]
    flags = ", ".join(machine["flags"]) or "no flags known"
    measured = f"Measured at commit `{document['commit'][:7]}` on {document['date'][:10]}"
    return f"{measured}: {machine['cpu']} ({flags}), threads: {machine['threads']}."


def record(name: str, numbers: Any, arguments: argparse.Namespace | None = None, *, continues: bool = False) -> Path:
    """Write a result with where it comes from; the file is replaced whole.

    Args:
        name: ``ROOM/NAME``.
        numbers: what was measured; NaN becomes null.
        arguments: the parsed arguments; ``threads`` among them is recorded as the threads that were used.
        continues: ``numbers`` holds cells of an earlier call as well: what that call recorded of itself is kept
            under ``earlier`` where its commit was another one.
    """
    path = result_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {
        "name": name,
        "recorded": True,
        **STARTED,
        "environment": environment(getattr(arguments, "threads", None)),
        "command": command(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    if continues and path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        part = {key: before.get(key) for key in ("commit", "dirty", "environment", "command", "date")}
        earlier = [*before.get("earlier", []), *([part] if part["commit"] != document["commit"] else [])]
        document |= {"earlier": earlier} if earlier else {}
    write_json(path, document | {"numbers": numbers})
    print(f"wrote {path.relative_to(ROOT)}", flush=True)
    return path


def write_json(path: Path, document: Any) -> None:
    """Write JSON beside ``path``, then rename it over the old file, so that a kill leaves one of the two."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(_finite(document), indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def _finite(value: Any) -> Any:
    """Return ``value`` with null for NaN and infinities, which JSON does not have, and plain numbers for NumPy's."""
    if isinstance(value, Mapping):
        return {str(key): _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def revision() -> dict[str, Any]:
    """Return the commit that runs, and whether tracked files differ from it."""
    return {"commit": _git("rev-parse", "HEAD"), "dirty": bool(_git("status", "--porcelain", "--untracked-files=no"))}


def _git(*words: str) -> str:
    """Return what git prints, or an empty string outside a repository."""
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


STARTED = revision()
"""The revision when this process began; commits made while it runs are not what it measures."""


def command() -> str:
    """Return the command of this process as a reader would type it: folders outside the repository by their names alone."""
    words = []
    for word in sys.argv[1:]:
        path = Path(word.rsplit("=", 1)[-1])
        if path.is_absolute():
            inside = path.is_relative_to(ROOT)
            word = word.replace(str(path), str(path.relative_to(ROOT)) if inside else path.name)
        words.append(word)
    return " ".join(["python -m", _module_name(), *words])


def _module_name() -> str:
    """Return the dotted name of the script that runs."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec else Path(sys.argv[0]).name


@dataclass
class Spent:
    """Seconds of a span: on the wall, and of this process's processors."""

    wall: float = 0.0
    processor: float = 0.0


@contextmanager
def clock() -> Iterator[Spent]:
    """Time the body.

    >>> with clock() as spent:
    ...     _ = sum(range(1000))
    >>> spent.wall > 0
    True
    """
    spent = Spent()
    wall, processor = time.perf_counter(), time.process_time()
    yield spent
    spent.wall, spent.processor = time.perf_counter() - wall, time.process_time() - processor


_PEAK = (
    "import resource, subprocess, sys; r = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True); "
    "sys.stderr.write(r.stderr if r.returncode else ''); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(r.returncode)"
)
"""Runs a command and prints the KiB of the largest process below it."""


def run_imbik(words: Sequence[str], place: Path) -> dict[str, float]:
    """Run a command of imbik in a process of its own.

    Args:
        words: behind ``imbik``.
        place: the working folder.

    Returns:
        ``seconds`` on the wall, and ``peak_rss_mib`` of the largest process.

    Raises:
        SystemExit: it failed; with what it said.
    """
    with clock() as spent:
        words = [sys.executable, "-c", _PEAK, sys.executable, "-m", "imbik", *words]
        done = subprocess.run(words, cwd=place, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return {"seconds": spent.wall, "peak_rss_mib": int(done.stdout) / 1024}


def in_turns(runs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[Any]]:
    """Call every run once a round, every other round in reverse, so that drifts of the machine meet all alike.

    Returns:
        name -> what its call returned, round by round.
    """
    results: dict[str, list[Any]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in list(runs)[:: 1 if number % 2 == 0 else -1]:
            results[name].append(runs[name]())
    return results


def in_pieces(
    makers: Mapping[str, Callable[[], Any]], folder: Path, minutes: float, wanted: Callable[[str], bool] = lambda _: True
) -> dict[str, Any]:
    """Return the numbers of every cell that is finished; each is kept in ``folder``, so that a later call does what is missing.

    Args:
        makers: name -> what gives the numbers of a cell, first things first.
        folder: one JSON file a cell.
        minutes: no cell is started after this time.
        wanted: whether a cell is to be made by this call; those that are there already are read in any case.
    """
    folder.mkdir(parents=True, exist_ok=True)
    began, found = time.monotonic(), {}
    for name, make in makers.items():
        file = folder / f"{name.replace(' ', '-')}.json"
        if wanted(name) and not file.is_file() and time.monotonic() - began < minutes * 60:
            write_json(file, make())
            print(name, flush=True)
        if file.is_file():
            found[name] = json.loads(file.read_text(encoding="utf-8"))
    print(f"{len(found)} of {len(makers)} cells", flush=True)
    return found


def parser(documentation: str | None, *shared: str, **defaults: Any) -> argparse.ArgumentParser:
    """Return a parser whose help is the script's docstring, with the options of ``shared``.

    Args:
        documentation: ``__doc__`` of the script.
        shared: of :data:`SHARED`; ``name!`` makes an option required.
        defaults: other defaults of shared options.
    """
    made = argparse.ArgumentParser(description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_shared(made, *shared, **defaults)
    return made


def stay_on(core: int) -> None:
    """Keep this process and those that it starts on one core, where the system can; below 0: on all."""
    if core >= 0 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def named(measurements: Sequence[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    """Return the measurements of a candidate, one an engine.

    Raises:
        KeyError: a run without it: a table must not lose rows in silence.
    """
    found = [one for one in measurements if one["name"] == name]
    if not found:
        raise KeyError(name)
    return found


def add_shared(to: argparse.ArgumentParser, *shared: str, **defaults: Any) -> None:
    """Add options that several benchmarks have, under one name and meaning."""
    for option in shared:
        name = option.removesuffix("!")
        settings = dict(SHARED[name]) | ({"default": defaults[name]} if name in defaults else {})
        to.add_argument(f"--{name}", required=option.endswith("!"), **settings)


SHARED: dict[str, dict[str, Any]] = {
    "teacher": {"help": "a fine-tuned teacher: a transformers folder"},
    "base": {"help": "a pretrained encoder (default: the bundled one)"},
    "data": {"help": "a file or a folder with train, dev and test files"},
    "rows": {"type": int, "default": 0, "help": "this many training rows instead of all"},
    "rounds": {"type": int, "default": 3, "help": "turns of everything that is timed"},
    "threads": {"type": int, "default": 1, "help": "compute threads"},
    "core": {"type": int, "default": 0, "help": "the only core that is used; -1: all"},
    "minutes": {"type": float, "default": 1e9, "help": "start nothing new after this time; a later call goes on"},
    "work": {"type": Path, "help": "folder of what is made; a later call goes on there"},
}
"""Name -> what ``add_argument`` gets."""
