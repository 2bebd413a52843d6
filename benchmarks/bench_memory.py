"""Memory as data grows: peak RSS of `imbik compress` on a tiny teacher at 10 thousand and at 1 million rows.

    python benchmarks/bench_memory.py [--rows 10000 1000000] [--words 12] [--json FILE]

The teacher and the student are tiny, so what grows is what the data costs. Training is cut to 200 steps: memory does not depend on how
long it takes. The teacher reads every row once, and its outputs go to disk.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from imbik.machine import environment
from imbik.models.checkpoint import save_checkpoint
from imbik.testing.tiny import WORDS, tiny_bert

RECIPE = "name: one\nstudent: layers-1\nsteps:\n  - distill: {epochs: 1, max_steps: 200}\n  - quantize: {}\n"


def run(rows: int, words: int, place: Path) -> dict[str, float]:
    """Peak RSS in MiB and seconds of one compress run in a process of its own."""
    generator = random.Random(0)
    with (place / "train.csv").open("w", encoding="utf-8") as file:
        file.write("text,label\n")
        for row in range(rows):
            file.write(" ".join(generator.choices(WORDS, k=words)) + f" {row},{generator.choice(('bad', 'good', 'other'))}\n")
    for name in ("dev", "test"):
        lines = [f"{' '.join(generator.choices(WORDS, k=words))} {name}{i},{('bad', 'good', 'other')[i % 3]}" for i in range(300)]
        (place / f"{name}.csv").write_text("text,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "imbik.cli.app",
        "compress",
        "--teacher",
        "../teacher",
        "--data",
        ".",
        "--out",
        "out",
        "--recipe",
        "../one.yaml",
    ]
    began = time.perf_counter()
    code = (
        "import resource, subprocess, sys; r = subprocess.run(sys.argv[1:], capture_output=True, text=True); "
        "sys.stderr.write(r.stderr if r.returncode else ''); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], cwd=place, capture_output=True, text=True, check=True)
    if done.stderr:
        raise SystemExit(done.stderr)
    return {"rows": rows, "peak_rss_mib": round(int(done.stdout) / 1024, 1), "seconds": round(time.perf_counter() - began, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--words", type=int, default=12)
    parser.add_argument("--json", default=None)
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        save_checkpoint(tiny_bert(layers=2), root / "teacher")
        (root / "one.yaml").write_text(RECIPE, encoding="utf-8")
        for rows in options.rows:
            place = root / str(rows)
            place.mkdir()
            results.append(run(rows, options.words, place))
            print(json.dumps(results[-1]), flush=True)
    document = {"runs": results, "environment": environment()}
    if options.json:
        Path(options.json).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
