"""A baseline's stored predictions: what ``imbik measure --baseline FILE`` compares with, without the baseline's model."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imbik.errors import UserError
from imbik.jobs.files import refuse_foreign_file, replacing
from imbik.jobs.paths import with_home
from imbik.jobs.reading import damage_told
from imbik.tasks.outputs import Array, Outputs, chained, count_of, from_arrays, is_ragged, numbers_of, to_arrays
from imbik.tasks.registry import task_of
from imbik.tasks.retention import Evaluable


@dataclass(frozen=True)
class Predictions:
    """Logits of one model on one set of data.

    Attributes:
        id: the candidate that they come from.
        labels: names in the order of the columns.
        task: see :data:`imbik.types.TaskName`.
        fingerprints: split name -> fingerprint of the rows.
        logits: split name (``dev``, ``test``) -> outputs, ``(N, L)`` float32 for most tasks.
    """

    id: str
    labels: tuple[str, ...]
    task: str
    fingerprints: dict[str, str]
    logits: dict[str, Outputs]


def save_predictions(path: Path, predictions: Predictions) -> None:
    """Write an ``.npz`` file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"id": predictions.id, "labels": predictions.labels, "task": predictions.task, "fingerprints": predictions.fingerprints}
    refuse_foreign_file(path, is_predictions)
    arrays = {name: array for split, values in predictions.logits.items() for name, array in to_arrays(values, f"logits_{split}").items()}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]


def is_predictions(path: Path) -> bool:
    """Return whether a file holds stored predictions: the proof that it may be replaced."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "about.npy" in archive.namelist()
    except zipfile.BadZipFile:
        return False


def load_predictions(path: str | Path) -> Predictions:
    """Read what :func:`save_predictions` wrote.

    Raises:
        UserError: no such file, or another kind of file.
    """
    path = with_home(path)
    if not path.is_file():
        raise UserError("no such file", where=path, expected="predictions.npz, written by imbik compress to DIR/teacher")
    expected = "predictions.npz, written by imbik compress to DIR/teacher"
    with damage_told("not a file of stored predictions", path, expected=expected):
        # a pickle in a file from elsewhere would run its code
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            arrays = {name: file[name] for name in file.files if name.startswith("logits_")}
        if not all(array.ndim for array in arrays.values()):
            raise ValueError("a number in the place of rows")
        names = {name.split(".")[0] for name in arrays}
        logits = {name.removeprefix("logits_"): from_arrays(arrays, name) for name in sorted(names)}
        return Predictions(about["id"], tuple(about["labels"]), about["task"], about["fingerprints"], logits)


class OutputFile:
    """Outputs of N texts on their way to a file, chunk by chunk; one plain array is not held in memory.

    Args:
        path: the file.
        count: N.
    """

    def __init__(self, path: str | Path, count: int) -> None:
        self.path = Path(path)
        self.count = count
        self.done = 0
        self._plain: Array | None = None
        self._chunks: list[dict[str, Array]] = []

    def add(self, outputs: Outputs) -> None:
        """Take in the outputs of the next texts."""
        if isinstance(outputs, Mapping) or is_ragged(outputs):
            self._chunks.append(dict(outputs) if isinstance(outputs, Mapping) else {"": outputs})
        else:
            if self._plain is None:
                shape = (self.count, *outputs.shape[1:])
                # the shape is known with the first chunk, so the file is written in place and never
                # held whole
                self._plain = np.lib.format.open_memmap(self.path, mode="w+", dtype=np.float32, shape=shape)
            self._plain[self.done : self.done + len(outputs)] = outputs
        self.done += count_of(outputs)

    def close(self) -> int:
        """Finish the file and return how many texts it holds."""
        if isinstance(self._plain, np.memmap):
            self._plain.flush()
        if self._chunks:
            whole = dict(chained(self._chunks))  # type: ignore[call-overload]  # mappings, as they were put in
            with self.path.open("wb") as file:
                np.savez(file, **to_arrays(whole if len(whole) > 1 else next(iter(whole.values())), "outputs"))  # type: ignore[arg-type]
        return self.done


def load_outputs(path: str | Path) -> Outputs:
    """Read what an :class:`OutputFile` wrote."""
    content = np.load(path, allow_pickle=False)
    if isinstance(content, np.ndarray):
        return content
    with content:
        return from_arrays({name: content[name] for name in content.files}, "outputs")


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
    _check_rows(predictions, len(splits.test), path)


def _check_rows(predictions: Predictions, count: int, path: object) -> None:
    """Check that there are numbers for each of ``count`` test rows, and for each label where the task has one row of numbers a text."""
    fault = None
    outputs = predictions.logits.get("test")
    task, width = task_of(predictions.task), len(predictions.labels)
    # of two texts that are read apart, two rows of numbers
    shapes = {(width,), (2, width)} if task.apart else {(width,)}
    if outputs is None:
        fault = ("nothing of the test rows", f"{count} rows")
    elif count_of(outputs) != count:
        fault = (f"{count_of(outputs)} rows", f"{count} rows")
    elif task.one_row and (isinstance(outputs, Mapping) or outputs.shape[1:] not in shapes):
        fault = ("rows of another form", f"{width} numbers a row, one for each label")
    elif not np.isfinite(numbers_of(outputs)).all():
        fault = ("numbers that are not finite", "finite numbers")
    if fault:
        what, fix = "the stored predictions do not fit the test rows", "run imbik compress again, which writes them"
        raise UserError(what, where=path, found=fault[0], expected=fault[1], fix=fix)
