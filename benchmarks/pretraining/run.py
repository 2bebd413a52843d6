"""Memory as raw text grows: RSS over time of `imbik finetune --task mlm` on a text file repeated to some size.

    python -m benchmarks.pretraining.run --base DIR --text FILE [--gigabytes 0.1 2] [--steps 200]

The file is tokenized into blocks on disk, then the head is trained for some steps on them. What is printed is the resident memory of the
command (``VmRSS``, every fifth of a second): after a tenth of the tokenizing, at its end, and the peaks of tokenizing and of the whole.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common import parser, record


def repeat(text: Path, size: int, out: Path) -> int:
    """Write ``text`` over and over until ``out`` holds ``size`` bytes; the number of bytes written."""
    part = text.read_bytes().rstrip() + b"\n\n"
    written = 0
    with out.open("wb") as file:
        while written < size:
            written += file.write(part)
    return written


def resident(pid: int) -> float:
    """MiB of physical memory that a process holds; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), 0.0)


def watched(command: list[str], blocks_in: Path) -> list[tuple[float, int, float]]:
    """Run a command; (seconds, bytes of blocks written so far, MiB resident) all the while."""
    began = time.perf_counter()
    seen = []
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        while process.poll() is None:
            written = sum(path.stat().st_size for path in blocks_in.rglob("blocks.bin"))
            seen.append((time.perf_counter() - began, written, resident(process.pid)))
            time.sleep(0.2)
        log.seek(0)
        if process.returncode:
            raise SystemExit(log.read().decode())
    return seen


def run(base: str, text: Path, size: int, steps: int) -> dict[str, Any]:
    """One size."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        written = repeat(text, size, place / "corpus.txt")
        words = ["--base", base, "--data", str(place / "corpus.txt"), "--out", str(place / "lm"), "--max-steps", str(steps)]
        seen = watched([sys.executable, "-m", "imbik", "finetune", "--task", "mlm", *words], place)
    blocks = max(done for _, done, _ in seen)
    tokenizing = [row for row in seen if 0 < row[1] < blocks]
    early = next(row for row in tokenizing if row[1] >= blocks / 10)
    return {
        "corpus_mb": round(written / 1e6),
        "blocks_mb": round(blocks / 1e6),
        "tokenizing_s": round(tokenizing[-1][0] - tokenizing[0][0], 1),
        "rss_mib": {
            "a tenth tokenized": round(early[2]),
            "all tokenized": round(tokenizing[-1][2]),
            "peak of tokenizing": round(max(row[2] for row in tokenizing)),
            "peak of the whole": round(max(row[2] for row in seen)),
        },
    }


def main() -> None:
    arguments = parser(__doc__, "base!")
    arguments.add_argument("--text", type=Path, required=True)
    arguments.add_argument("--gigabytes", type=float, nargs="+", default=[0.1, 2.0])
    arguments.add_argument("--steps", type=int, default=200)
    options = arguments.parse_args()
    numbers: dict[str, Any] = {"text": options.text.name, "steps": options.steps, "runs": []}
    for gigabytes in options.gigabytes:
        numbers["runs"].append(run(options.base, options.text, round(gigabytes * 1e9), options.steps))
        print(json.dumps(numbers["runs"][-1]), flush=True)
        record("pretraining/memory", numbers, options)


if __name__ == "__main__":
    main()
