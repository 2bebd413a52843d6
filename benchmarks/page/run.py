"""A model in a browser with the network off: bytes, equal answers, milliseconds a text.

    python -m benchmarks.page.run NAME RUNTIME ARTEFACT... --texts FILE.csv... [--column text] [--rounds 5]

RUNTIME is the folder dist of npm's onnxruntime-web; Chromium must be on the path. Of each artefact `imbik page` writes a file, which a
headless Chromium opens from the disk and asks 500 texts, one at a time: some of each FILE, and such as other tokenizers would read
otherwise. Recorded are the bytes, the texts with another most probable label than Python's, the largest difference of a probability, the
median milliseconds a text in the browser and in Python, seconds until the first answer, and which addresses the page asked for. The
result is benchmarks/results/page/NAME.json.
"""

from __future__ import annotations

import csv
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import parser, record
from benchmarks.page.browser import browsing, opened_version
from benchmarks.page.texts import texts
from imbik import load_artefact
from imbik.page import write_page
from imbik.runtime import read_artefact

_TIMED = """imbik.then(async (model) => {
  const answers = [], spent = [];
  for (const text of %s) {
    const begun = performance.now();
    answers.push(await model.answer(text));
    spent.push(performance.now() - begun);
  }
  return { answers, spent };
})"""


def in_browser(page: Path, asked: list[str], rounds: int) -> dict[str, Any]:
    """Ask a page all texts, some times over."""
    with browsing() as browser:
        begun = time.perf_counter()
        browser.open(page)
        browser.run("imbik.then((model) => model.answer('a'))")
        first = time.perf_counter() - begun
        found = [browser.run(_TIMED % json.dumps(asked)) for _ in range(rounds)]
        spent = [statistics.median(times) for times in zip(*(one["spent"] for one in found), strict=True)]
        elsewhere = [address for address in browser.requests if not address.startswith(("file:", "blob:", "data:"))]
        return {"answers": found[0]["answers"], "ms": statistics.median(spent), "first_s": first, "elsewhere": elsewhere}


def in_python(artefact: Path, asked: list[str], rounds: int) -> tuple[np.ndarray, float]:
    """Ask the artefact all texts, one at a time."""
    model = load_artefact(artefact, threads=1)
    answers = np.concatenate([model.predict([text]) for text in asked])
    spent = []
    for _ in range(rounds):
        for text in asked:
            begun = time.perf_counter()
            model.predict([text])
            spent.append(time.perf_counter() - begun)
    return answers, 1000 * statistics.median(spent)


def measure(artefact: Path, runtime: Path, asked: list[str], rounds: int) -> dict[str, Any]:
    """Return the numbers of one artefact."""
    with tempfile.TemporaryDirectory() as folder:
        done = write_page(artefact, runtime, Path(folder) / "page.html")
        found = in_browser(done.path, asked, rounds)
    wanted, ms = in_python(artefact, asked, rounds)
    answers = np.array(found.pop("answers"))
    return {
        "model": f"{artefact.parents[1].name}/{read_artefact(artefact).engine}",
        "texts": len(asked),
        "page_bytes": done.size,
        "model_bytes": done.model_bytes,
        "other_labels": int((answers.argmax(1) != wanted.argmax(1)).sum()),
        "max_abs": float(np.abs(answers - wanted).max()),
        **found,
        "python_ms": ms,
    }


def main() -> None:
    arguments = parser(__doc__, "rounds", rounds=5)
    arguments.add_argument("name")
    arguments.add_argument("runtime", type=Path)
    arguments.add_argument("artefacts", nargs="+", type=Path)
    arguments.add_argument("--texts", nargs="+", type=Path, required=True)
    arguments.add_argument("--column", default="text")
    options = arguments.parse_args()
    sets = []
    for file in options.texts:
        with file.open(encoding="utf-8", newline="") as lines:
            sets.append([row[options.column] for row in csv.DictReader(lines)])
    asked = texts(sets)
    runs = [measure(artefact, options.runtime, asked, options.rounds) for artefact in options.artefacts]
    runtime = json.loads((options.runtime.parent / "package.json").read_text(encoding="utf-8"))["version"]
    record(f"page/{options.name}", {"browser": opened_version(), "onnxruntime-web": runtime, "runs": runs}, options)
    for run in runs:
        print(run)


if __name__ == "__main__":
    main()
