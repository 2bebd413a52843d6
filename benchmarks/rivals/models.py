"""Small text classifiers that others make, and imbik's artefacts, behind one interface: trained, then asked in a process of their own.

    python -m benchmarks.rivals.models train KIND ROWS.json MODEL [--base DIR]
    python -m benchmarks.rivals.models ask KIND MODEL ROWS.json

KIND is one of those below, or ``imbik`` for ``ask``. The peers need an environment of their own
(``pip install model2vec[train,distill] fasttext-numpy2``); nothing of imbik is imported there.

* ``fasttext`` and ``fasttext-small``: fastText's own search for settings on dev (``--seconds`` of it), the first without a bound,
  the second quantized to at most 1 MB, as its search for a model of a size does.
* ``model2vec`` and ``model2vec-int8``: vectors of every word piece distilled from the encoder of ``--base``, then fine-tuned on train
  with early stopping on dev; the second is the first with its vectors in 8 bits.

ROWS.json holds ``train``, ``dev`` and ``test``: ``{"texts": [...], "labels": [...]}``. ``ask`` reads dev first, unclocked, then answers
300 texts of test one by one and the others at once, and prints JSON: ``single`` and ``batch`` in seconds, ``answers`` to all of test.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Answer = Callable[[Sequence[str]], Sequence[str]]
SINGLE = 300
"""Texts of test that are asked one by one, at most a quarter of it."""

SIZES = {"fasttext": None, "fasttext-small": "1M"}
"""Kind of fastText -> the bound that its search gets."""


def cut_words(text: str) -> str:
    """Return a text as fastText's tutorial prepares it: lower case, punctuation apart, on one line."""
    return " ".join(re.findall(r"\w+|[^\w\s]", text.lower()))


def train_fasttext(kind: str, rows: dict[str, Any], out: Path, seconds: int) -> None:
    """Let fastText look for the best settings on dev."""
    import fasttext

    labels = sorted(set(rows["train"]["labels"]))
    with tempfile.TemporaryDirectory() as folder:
        for part in ("train", "dev"):
            lines = (f"__label__{labels.index(label)} {cut_words(text)}" for text, label in pairs(rows[part]) if label in labels)
            (Path(folder) / part).write_text("\n".join(lines) + "\n", encoding="utf-8")
        search = {"autotuneValidationFile": f"{folder}/dev", "autotuneDuration": seconds, "verbose": 0, "thread": 1}
        size = {"autotuneModelSize": SIZES[kind]} if SIZES[kind] else {}
        model = fasttext.train_supervised(input=f"{folder}/train", **search, **size)
    model.save_model(str(out / ("model.ftz" if size else "model.bin")))
    (out / "labels.json").write_text(json.dumps(labels), encoding="utf-8")


def train_model2vec(rows: dict[str, Any], out: Path, base: str) -> None:
    """Distill vectors of the base's word pieces and fine-tune them with model2vec's defaults."""
    from model2vec.distill import distill
    from model2vec.train import StaticModelForClassification

    model = StaticModelForClassification.from_static_model(model=distill(base))
    dev = {"X_val": rows["dev"]["texts"], "y_val": rows["dev"]["labels"]}
    model.fit(rows["train"]["texts"], rows["train"]["labels"], device="cpu", **dev).to_pipeline().save_pretrained(str(out))


def quantize_model2vec(out: Path, trained: str) -> None:
    """Store the vectors of a trained model in 8 bits."""
    from model2vec.inference import StaticModelPipeline
    from model2vec.model import quantize_model

    pipeline = StaticModelPipeline.from_pretrained(trained)
    pipeline.model = quantize_model(pipeline.model, quantize_to="int8")
    pipeline.save_pretrained(str(out))


def open_fasttext(model: Path) -> Answer:
    import fasttext

    file = next(path for name in ("model.ftz", "model.bin") if (path := model / name).is_file())
    opened, labels = fasttext.load_model(str(file)), json.loads((model / "labels.json").read_text(encoding="utf-8"))
    # one list of lines at once, as its Python interface allows: `__label__7` is the eighth label
    return lambda texts: [labels[int(found[0][9:])] for found in opened.predict([cut_words(text) for text in texts])[0]]


def open_model2vec(model: Path) -> Answer:
    from model2vec.inference import StaticModelPipeline

    pipeline = StaticModelPipeline.from_pretrained(str(model))
    return lambda texts: [str(label) for label in pipeline.predict(list(texts), use_multiprocessing=False)]


def open_imbik(model: Path) -> Answer:
    import imbik

    predictor = imbik.load_artefact(model, threads=1)
    return lambda texts: [predictor.labels[index] for index in predictor.predict(list(texts)).argmax(axis=1)]


OPEN = {
    "fasttext": open_fasttext,
    "fasttext-small": open_fasttext,
    "model2vec": open_model2vec,
    "model2vec-int8": open_model2vec,
    "imbik": open_imbik,
}
"""Kind -> how a finished model of it is opened."""


def pairs(part: dict[str, Any]) -> list[tuple[str, str]]:
    """Return texts with their labels."""
    return list(zip(part["texts"], part["labels"], strict=True))


def ask(kind: str, model: Path, rows: dict[str, Any]) -> dict[str, Any]:
    """Time a model on test texts that it has not read, after dev."""
    answer = OPEN[kind](model)
    answer(rows["dev"]["texts"])
    texts = rows["test"]["texts"]
    alone = min(SINGLE, len(texts) // 4)
    seconds, answers = [], []
    for text in texts[:alone]:
        began = time.perf_counter()
        answers += answer([text])
        seconds.append(time.perf_counter() - began)
    began = time.perf_counter()
    answers += answer(texts[alone:])
    spent = time.perf_counter() - began
    return {"single": statistics.median(seconds), "batch": spent / (len(texts) - alone), "answers": answers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train")
    train.add_argument("kind", choices=[kind for kind in OPEN if kind != "imbik"])
    train.add_argument("rows", type=Path)
    train.add_argument("model", type=Path)
    train.add_argument("--base", help="a transformers folder for model2vec, the trained model for model2vec-int8")
    train.add_argument("--seconds", type=int, default=60, help="of fastText's search")
    asked = commands.add_parser("ask")
    asked.add_argument("kind", choices=OPEN)
    asked.add_argument("model", type=Path)
    asked.add_argument("rows", type=Path)
    options = parser.parse_args()
    rows = json.loads(options.rows.read_text(encoding="utf-8"))
    if options.command == "ask":
        json.dump(ask(options.kind, options.model, rows), sys.stdout)
        return
    options.model.mkdir(parents=True, exist_ok=True)
    if options.kind == "model2vec":
        train_model2vec(rows, options.model, options.base)
    elif options.kind == "model2vec-int8":
        quantize_model2vec(options.model, options.base)
    else:
        train_fasttext(options.kind, rows, options.model, options.seconds)


if __name__ == "__main__":
    main()
