"""``python tests/mutation/run.py [ROOM …]``: change the code in one place, run the room's tests, tell which changes no test noticed.

Every change gets a process of its own, forked from one that has imported the heavy libraries and nothing of imbik, and a
copy of the repository; the working tree is never touched. Needs ``cosmic-ray``, which makes most of the changes.
"""

from __future__ import annotations

import argparse
import compileall
import importlib
import json
import os
import py_compile
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from changes import BY_HAND, Change, by_hand, by_operators, stale
from rooms import ROOMS

ROOT = Path(__file__).parents[2]
BAR = 0.85
HEAVY = ("torch", "scipy.stats", "scipy.optimize", "sklearn.metrics", "transformers", "accelerate", "numba", "onnxruntime", "pytest")
"""Imported once, before the first fork."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the changes of some rooms; return 1 where a room is below the bar."""
    parser = argparse.ArgumentParser(description="Change the code in one place, run the tests of the room, tell what no test noticed.")
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help="of " + ", ".join(ROOMS) + "; all by default")
    parser.add_argument("--most", type=int, default=60, help="changes of a room at most, drawn at random; 0: every one")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--out", type=Path, help="a JSON file for every change and what became of it")
    options = parser.parse_args(arguments)
    if unknown := set(options.rooms) - set(ROOMS):
        parser.error(f"no room {', '.join(sorted(unknown))}; there are {', '.join(ROOMS)}")
    old = [
        f"{module}: {was!r}" for name in options.rooms or ROOMS for module in ROOMS[name].modules for was in stale(module, text_of(module))
    ]
    if old:
        parser.error(f"{BY_HAND.name} does not know the code as it is now:\n" + "\n".join(old))
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    for name in HEAVY:
        importlib.import_module(name)
    found: dict[str, list[dict[str, object]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "house")
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "runs", "demo-out"))
        # by content: a change may leave a file's size and second of writing as they were
        compileall.compile_dir(copy / "src", quiet=2, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
        for name in options.rooms or ROOMS:
            found[name] = try_room(name, copy, options.most, options.seed)
            if options.out:
                options.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    low = [name for name, rows in found.items() if score(rows) < BAR]
    for name, rows in found.items():
        endless = sum(bool(row["endless"]) for row in rows)
        print(f"{name:24} {sum(bool(row['noticed']) for row in rows):4} of {len(rows):4} noticed: {score(rows):.1%}, {endless} endless")
    return 1 if low else 0


def score(rows: Sequence[dict[str, object]]) -> float:
    """Return the share of changes that a test noticed; 1 where there was none to make."""
    return sum(bool(row["noticed"]) for row in rows) / len(rows) if rows else 1.0


def try_room(name: str, copy: Path, most: int, seed: int) -> list[dict[str, object]]:
    """Return each change tried in a room, and whether a test noticed it."""
    room = ROOMS[name]
    tests = [str(copy / "tests" / test) for test in room.tests]
    began = time.monotonic()
    if (left := attempt(copy, tests, 1800.0)) != 0:
        raise SystemExit(f"{name}: the tests fail without any change (exit {left})\n" + (copy / "output").read_text("utf-8")[-4000:])
    usual = time.monotonic() - began
    chosen = draw(name, most, seed)
    print(f"{name}: {len(chosen)} changes, the tests take {usual:.0f} s", flush=True)
    rows = []
    for change in chosen:
        path = copy / "src" / "imbik" / change.module
        before = path.read_text("utf-8")
        path.write_text(change.code, "utf-8")
        try:
            left = attempt(copy, tests, 60 + 5 * usual, fresh="kernels" in change.module)
        finally:
            path.write_text(before, "utf-8")
        row = {"module": change.module, "line": change.line, "was": change.was, "became": change.became, "noticed": left != 0}
        # a change that makes the code run for ever is noticed; so told, since a busy machine is slow too
        rows.append(row | {"endless": left == -1})
        if left == 0:
            print(f"  {change.module}:{change.line}\n    - {change.was}\n    + {change.became}", flush=True)
    print(f"{name}: {score(rows):.1%} of {len(rows)} noticed, {time.monotonic() - began:.0f} s", flush=True)
    return rows


def draw(name: str, most: int, seed: int) -> list[Change]:
    """Return a room's changes by hand, and as many drawn of the others as make ``most``."""
    texts = {module: text_of(module) for module in ROOMS[name].modules}
    chosen = [change for module, text in texts.items() for change in by_hand(module, text)]
    others = [change for module, text in texts.items() for change in by_operators(module, text)]
    if most:
        others = random.Random(f"{name} {seed}").sample(others, max(0, min(len(others), most - len(chosen))))
    return chosen + sorted(others, key=lambda change: (change.module, change.line))


def text_of(module: str) -> str:
    """Return the code of a module below ``src/imbik``."""
    return (ROOT / "src" / "imbik" / module).read_text("utf-8")


def attempt(copy: Path, tests: Sequence[str], limit: float, fresh: bool = False) -> int:
    """Run tests in a forked process; return its exit status, -1 where it took longer than ``limit`` seconds.

    Args:
        copy: the house.
        tests: files.
        limit: seconds.
        fresh: whether kernels are compiled anew: compiled ones are kept by file, and would not follow a change in one that they call.
    """
    compiled = Path(tempfile.mkdtemp(dir=copy)) if fresh else copy / "compiled"
    child = os.fork()
    if child == 0:
        _run_tests(copy, tests, compiled)
    try:
        return _ended(child, limit)
    finally:
        if fresh:
            shutil.rmtree(compiled, ignore_errors=True)


def _ended(child: int, limit: float) -> int:
    """Wait for a process; return its exit status, or -1 after ``limit`` seconds, when it and its workers are killed."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -1


def _run_tests(copy: Path, tests: Sequence[str], compiled: Path) -> None:
    """Run tests of the copied house in this process, and end it."""
    status = 70
    try:
        os.setsid()  # a group of its own, so that workers end with it
        output = os.open(copy / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(copy)
        sys.dont_write_bytecode = True
        sys.path[:] = [str(copy / "src"), *(path for path in sys.path if Path(path).resolve() != Path(__file__).parent)]
        os.environ["PYTHONPATH"] = str(copy / "src")
        import numba
        import pytest

        # the variable for workers; numba itself has read it when it was imported
        os.environ["NUMBA_CACHE_DIR"] = numba.config.CACHE_DIR = str(compiled)

        # rewritten assertions explain a failure better, and cost more than most tests
        status = int(pytest.main(["-x", "-q", "--assert=plain", "-p", "no:cacheprovider", "--rootdir", str(copy), *tests]))
    finally:
        sys.stdout.flush()
        os._exit(status)


if __name__ == "__main__":
    raise SystemExit(main())
