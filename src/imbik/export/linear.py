"""Linear models over n-grams as artefacts of NumPy: a table in eight bits, called done once its answers were compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imbik.export.folder import finish
from imbik.export.parity import TOLERANCE, ParityError
from imbik.export.readme import readme
from imbik.jobs.files import replacing_folder
from imbik.linear.model import LinearModel
from imbik.locale.notes import document
from imbik.machine import versions
from imbik.runtime.arrays.file import MODEL
from imbik.runtime.manifest import artefact_files, read_artefact
from imbik.runtime.ngrams import NGRAMS_FILE, NgramTokenizer
from imbik.runtime.predictor import load_artefact
from imbik.tasks.outputs import numbers_of
from imbik.tasks.retention import agreement
from imbik.types import Artefact, Note, Splits, Step

ENGINE = "numpy"
"""What runs linear models."""

_TEXTS = 200


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
        np.savez_compressed(partial / MODEL, **_arrays(model))  # type: ignore[arg-type]  # its stubs have a flag among the names
        NgramTokenizer(model.vocabulary.cut, model.vocabulary.ngrams).write(partial / NGRAMS_FILE)
        manifest = _manifest(model, splits, steps, notes)
        (partial / "README.md").write_text(readme(manifest, paired=False), encoding="utf-8")
        finish(partial, manifest)
        manifest["parity"] = _compared(model, partial, splits)
        finish(partial, manifest)
    return read_artefact(directory)


def _arrays(model: LinearModel) -> dict[str, NDArray[Any]]:
    """Return what :class:`imbik.runtime.arrays.linear.Linear` is made of, as it is stored."""
    weights, scale = model.rows()
    vectors: dict[str, NDArray[Any]] = {"idf": model.vocabulary.idf.astype(np.float16), "bias": model.bias.astype(np.float32)}
    return {
        "kind": np.array("linear"),
        "padding": np.array(0),
        "weights.int8": weights,
        "weights.scale": scale[:, None],
        "weights.width": np.array(weights.shape[1]),
        **vectors,
    }


def _manifest(model: LinearModel, splits: Splits, steps: Sequence[Step], notes: Sequence[Note]) -> dict[str, Any]:
    labels = len(splits.labels)
    return {
        "schema": 1,
        "engine": ENGINE,
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
        raise ParityError(f"{ENGINE}: logits differ from the model's by up to {worst:.2e} ({relative:.1e} of the largest)")
    same = agreement(splits.task, found, expected)
    gate = {"max_abs": worst, "max_abs_relative": relative, "agreement": same, "texts": len(texts)}
    return gate | {"int8_ops": 0, "float_matmuls": 0, "reverted": []}
