"""Linear models over n-grams as artefacts: a table in eight bits that NumPy alone runs, called done once its answers were compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imbik.export.folder import finish
from imbik.export.parity import TOLERANCE, ParityError
from imbik.jobs.files import replacing_folder
from imbik.linear.model import LinearModel
from imbik.locale.notes import document
from imbik.machine import versions
from imbik.runtime.engines.table import MODEL
from imbik.runtime.manifest import artefact_files, read_artefact
from imbik.runtime.ngrams import NGRAMS_FILE, NgramTokenizer
from imbik.runtime.predictor import load_artefact
from imbik.tasks.outputs import numbers_of
from imbik.tasks.registry import task_of
from imbik.tasks.retention import agreement
from imbik.types import Artefact, Note, Splits, Step

_TEXTS = 200

_CODE = """import gzip, json, re, unicodedata
from pathlib import Path
import numpy as np

folder = Path(__file__).parent if "__file__" in globals() else Path(".")
manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
known = json.loads(gzip.decompress((folder / manifest["tokenizer"]).read_bytes()))
number = {ngram: row for row, ngram in enumerate(known["ngrams"])}
model = np.load(folder / manifest["model"])
weights, squares = model["rows"] * model["scale"][:, None], model["idf"].astype("f4") ** 2

def ngrams(text):  # runs of words, and runs of characters inside a word
    apart = unicodedata.normalize("NFD", text.lower())
    plain = "".join(c for c in apart if not unicodedata.combining(c)).replace("ı", "i")
    words = re.findall(r"\\w+|[^\\w\\s]", plain)
    found = {" ".join(words[i:i + n]) for n in range(1, known["words"] + 1) for i in range(len(words) - n + 1)}
    low, high = known["characters"] or (1, 0)
    for word in {f" {word} " for word in words}:
        found |= {"\\t" + word[i:i + n] for n in range(low, high + 1) for i in range(max(len(word) - n + 1, 1))}
    return [number[ngram] for ngram in found if ngram in number]

for text in ["a text", "another text"]:
    rows = ngrams(text)
    row = weights[rows].sum(0) / max(squares[rows].sum() ** 0.5, 1e-12) + model["bias"]
    print({answer})
"""


def write_linear(model: LinearModel, directory: Path, splits: Splits, steps: Sequence[Step], notes: Sequence[Note] = ()) -> Artefact:
    """Write an artefact folder of a linear model: ``model.npz``, its n-grams, ``manifest.json`` and a README with code that runs it.

    The folder appears under its name only when it is complete; an artefact that stood there is replaced.

    Args:
        model: what is written: its stored integers are.
        directory: the artefact folder.
        splits: task and labels; the first 200 texts of dev are compared.
        steps: what made the model, for the record.
        notes: what a reader of its measurements must know.

    Raises:
        ParityError: the artefact's logits differ from the model's.
        UserError: a folder that holds other files.
    """
    with replacing_folder(directory, artefact_files) as partial:
        rows, scale = model.rows()
        np.savez_compressed(
            partial / MODEL, rows=rows, scale=scale, idf=model.vocabulary.idf.astype(np.float16), bias=model.bias.astype(np.float32)
        )
        NgramTokenizer(model.vocabulary.cut, model.vocabulary.ngrams).write(partial / NGRAMS_FILE)
        manifest = _manifest(model, splits, steps, notes)
        (partial / "README.md").write_text(_readme(model, manifest), encoding="utf-8")
        finish(partial, manifest)
        manifest["parity"] = _compared(model, partial, splits)
        finish(partial, manifest)
    return read_artefact(directory)


def _manifest(model: LinearModel, splits: Splits, steps: Sequence[Step], notes: Sequence[Note]) -> dict[str, Any]:
    labels = len(splits.labels)
    return {
        "schema": 1,
        "engine": "table",
        "model": MODEL,
        "tokenizer": NGRAMS_FILE,
        "task": splits.task,
        "labels": list(splits.labels),
        "pairs": False,
        # a set of n-grams is never cut; what is warmed up has this many
        "max_length": 4096,
        "padding": {"side": "right", "token": None, "id": 0, "type_id": 0},
        "inputs": ["input_ids"],
        "steps": [dict(step) for step in steps],
        "notes": [document(note) for note in notes],
        "versions": versions(),
        "architecture": {"family": "linear", "layers": 0, "vocabulary": len(model.vocabulary.ngrams)},
        "params": int(np.count_nonzero(model.weights)) + model.bias.size,
        # an n-gram adds one number to each logit; the norm and the bias are the same for every text
        "flops": [3.0 * labels, labels + 1.0, 0.0],
        "quantisation": {"scheme": "weight-only", "weight_bits": 8},
        "graph": {"fused": True, "unfused_because": [], "int8_ops": 0, "float_matmuls": 0},
    }


def _compared(model: LinearModel, directory: Path, splits: Splits) -> dict[str, Any]:
    """Return what the gate saw of an artefact beside the model that SciPy computes.

    Raises:
        ParityError: it differs by more than rounding.
    """
    texts = list(splits.dev.texts[:_TEXTS])
    expected, found = model.scores(texts), load_artefact(directory, threads=1).scores(texts)
    worst = float(np.abs(numbers_of(found) - numbers_of(expected)).max())
    relative = worst / max(float(np.abs(expected).max()), 1e-6)
    if not np.isfinite(worst) or relative > TOLERANCE:
        raise ParityError(f"table: logits differ from the model's by up to {worst:.2e} ({relative:.1e} of the largest)")
    same = agreement(splits.task, found, expected)
    gate = {"max_abs": worst, "max_abs_relative": relative, "agreement": same, "texts": len(texts)}
    return gate | {"int8_ops": 0, "float_matmuls": 0, "reverted": []}


def _readme(model: LinearModel, manifest: dict[str, Any]) -> str:
    """Return the page: what the model is, and Python that runs it with NumPy alone."""
    labels, settings = manifest["labels"], ", ".join(f"{name} {value}" for name, value in model.settings.items())
    shown = ", ".join(labels[:8]) + (f", … ({len(labels)} in all)" if len(labels) > 8 else "")
    answer = task_of(manifest["task"]).example
    lines = [
        f"# A linear {manifest['task']} model",
        "",
        f"* {len(model.vocabulary.ngrams):,} n-grams, {manifest['params']:,} weights in int8 ({settings})",
        f"* labels: {shown}",
        "",
        'With imbik: `imbik predict . "a text"`, or `imbik.load_artefact(".").predict(["a text"])`.',
        "",
    ]
    if answer:
        lines += [
            "Without it (`pip install numpy`), from this folder:",
            "",
            "```python",
            _CODE.replace("{answer}", answer).rstrip(),
            "```",
            "",
        ]
    return "\n".join(lines)
