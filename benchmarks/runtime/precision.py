"""Float32, bfloat16 and int8 of one model, and what a new shape costs OpenVINO: in turns in one process, one thread.

    python -m benchmarks.runtime.precision NAME TEXTS.csv ARTEFACT... [--rounds 15] [--threads 1]

TEXTS.csv as for ``run.py``. An OpenVINO artefact that computes in bfloat16 runs in float32 too. Recorded are the median wall time of
single requests and the median processor time of a text in batches, tokenizing included, every length seen before; and of the OpenVINO
artefacts, loaded anew without a cache and without padding, the median wall time of the first request of a length and of the second.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.common import in_turns, parser, record
from benchmarks.runtime.run import Turn, single
from imbik.runtime import Predictor, load_artefact


def models_of(artefacts: list[Path], threads: int, folder: Path) -> dict[str, Predictor]:
    """Return what runs: name of the artefact, its engine and precision -> the model."""
    models: dict[str, Predictor] = {}
    for artefact in artefacts:
        model = load_artefact(artefact, threads=threads)
        scheme = (model.manifest["quantisation"] or {}).get("scheme")
        models[f"{model.engine} {scheme or model.manifest.get('precision') or 'f32'}"] = model
        if model.engine == "openvino" and not scheme and model.manifest["precision"] == "bf16":
            models["openvino f32"] = load_artefact(in_float32(artefact, folder), threads=threads)
    return models


def in_float32(artefact: Path, folder: Path) -> Path:
    """Return a copy of an OpenVINO artefact that computes in float32."""
    copied = folder / "f32"
    shutil.copytree(artefact, copied)
    manifest = json.loads((copied / "manifest.json").read_text(encoding="utf-8"))
    (copied / "manifest.json").write_text(json.dumps(manifest | {"precision": "f32"}), encoding="utf-8")
    return copied


def new_shapes(artefact: Path, texts: list[str], threads: int) -> dict[str, float]:
    """Return median milliseconds of the first request of every length, and of the second."""
    model = load_artefact(artefact, threads=threads, length_multiple=1)
    lengths = {len(model._tokenizer.ids([text])[0]): text for text in texts[::-1]}
    first, second = [], []
    for text in lengths.values():
        for times in (first, second):
            times += single(model, [text])
    return {"lengths": len(lengths), "first_ms": 1e3 * float(np.median(first)), "second_ms": 1e3 * float(np.median(second))}


def main() -> None:
    arguments = parser(__doc__, "rounds", "threads", rounds=15)
    arguments.add_argument("name")
    arguments.add_argument("texts", type=Path)
    arguments.add_argument("artefacts", nargs="+", type=Path)
    options = arguments.parse_args()
    os.environ["IMBIK_CACHE"] = ""
    with options.texts.open(encoding="utf-8", newline="") as file:
        texts = [row[0] for row in csv.reader(file)][1:1025]
    numbers: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        models = models_of(options.artefacts, options.threads, Path(folder))
        turns = in_turns({name: Turn(model, texts) for name, model in models.items()}, options.rounds)
        for name, rows in turns.items():
            alone, batches = np.concatenate([one for one, _ in rows]), [many for _, many in rows]
            numbers[name] = {"single_p50_ms": 1e3 * float(np.median(alone)), "batch_processor_us": 1e6 * float(np.median(batches))}
        for artefact in options.artefacts:
            if load_artefact(artefact, threads=options.threads).engine == "openvino":
                numbers["new shapes"] = new_shapes(artefact, texts, options.threads)
    print(numbers)
    record(f"runtime/precision-{options.name}", numbers, options)


if __name__ == "__main__":
    main()
