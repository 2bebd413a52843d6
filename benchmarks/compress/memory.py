"""Memory as data grows: peak RSS of `imbik compress` on a tiny teacher at 10 thousand and at 1 million rows.

    python -m benchmarks.compress.memory [--sizes 10000 1000000] [--words 12]

The teacher and the student are tiny, so what grows is what the data costs. Training is cut to 200 steps: memory does not depend on how
long it takes. The teacher reads every row once, and its outputs go to disk.
"""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path

from benchmarks.common import parser, record, run_imbik
from imbik import save_checkpoint
from imbik.testing import tiny_bert
from imbik.testing.tiny import WORDS

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
    words_of_command = ["compress", "--teacher", "../teacher", "--data", ".", "--out", "out", "--recipe", "../one.yaml"]
    found = run_imbik(words_of_command, place)
    return {"rows": rows, "peak_rss_mib": round(found["peak_rss_mib"], 1), "seconds": round(found["seconds"], 1)}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--sizes", type=int, nargs="+", default=[10_000, 1_000_000])
    arguments.add_argument("--words", type=int, default=12)
    options = arguments.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        save_checkpoint(tiny_bert(layers=2), root / "teacher")
        (root / "one.yaml").write_text(RECIPE, encoding="utf-8")
        for rows in options.sizes:
            place = root / str(rows)
            place.mkdir()
            runs.append(run(rows, options.words, place))
            print(json.dumps(runs[-1]), flush=True)
    record("compress/memory", {"runs": runs}, options)


if __name__ == "__main__":
    main()
