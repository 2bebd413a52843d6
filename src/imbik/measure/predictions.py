"""A baseline's stored predictions: what ``imbik measure --baseline FILE`` compares with, without the baseline's model."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imbik.errors import UserError
from imbik.tasks.retention import Evaluable


@dataclass(frozen=True)
class Predictions:
    """Logits of one model on one set of data.

    Attributes:
        id: the candidate that they come from.
        labels: names in the order of the columns.
        task: see :data:`imbik.types.TaskName`.
        fingerprints: split name -> fingerprint of the rows.
        logits: split name (``dev``, ``test``) -> ``(N, L)`` float32.
    """

    id: str
    labels: tuple[str, ...]
    task: str
    fingerprints: dict[str, str]
    logits: dict[str, NDArray[np.float32]]


def save_predictions(path: Path, predictions: Predictions) -> None:
    """Write an ``.npz`` file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"id": predictions.id, "labels": predictions.labels, "task": predictions.task, "fingerprints": predictions.fingerprints}
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    arrays = {f"logits_{split}": values for split, values in predictions.logits.items()}
    with partial.open("wb") as file:
        np.savez_compressed(file, about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]
    partial.replace(path)


def load_predictions(path: str | Path) -> Predictions:
    """Read what :func:`save_predictions` wrote.

    Raises:
        UserError: no such file, or another kind of file.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError("no such file", where=path, expected="predictions.npz, written by imbik compress to DIR/teacher")
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            logits = {name.removeprefix("logits_"): file[name] for name in file.files if name.startswith("logits_")}
        return Predictions(about["id"], tuple(about["labels"]), about["task"], about["fingerprints"], logits)
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, json.JSONDecodeError) as error:
        raise UserError(
            "not a file of stored predictions",
            where=path,
            found=f"{type(error).__name__}: {error}"[:160],
            expected="predictions.npz, written by imbik compress to DIR/teacher",
        ) from None


def check_fits(predictions: Predictions, splits: Evaluable, path: object) -> None:
    """Check that stored predictions are of the same rows and labels.

    Raises:
        UserError: they are not.
    """
    if predictions.task != splits.task:
        raise UserError("the stored predictions are of another task", where=path, found=predictions.task, expected=splits.task)
    if predictions.labels != splits.labels:
        raise UserError(
            "the stored predictions have other labels than the data",
            where=path,
            found=", ".join(predictions.labels[:8]),
            expected=", ".join(splits.labels[:8]),
            fix="measure on the data that the teacher was measured on",
        )
    if predictions.fingerprints.get("test") != splits.test.fingerprint:
        raise UserError(
            "the stored predictions are of other test rows",
            where=path,
            found=f"fingerprint {str(predictions.fingerprints.get('test'))[:12]}…",
            expected=f"fingerprint {splits.test.fingerprint[:12]}… ({splits.source})",
            fix="measure on the data that the teacher was measured on, or run imbik compress again",
        )
