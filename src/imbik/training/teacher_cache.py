"""Cache of the teacher's logits, by text, on disk: the teacher runs once per text, for every epoch and every recipe.

A store is two append-only files per (teacher, maximum length): 16-byte digests of the texts, and their logits in float32. A
program that is killed while it appends leaves at most one torn record, which the next opening drops.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imbik.jobs.progress import Progress
from imbik.models.teacher import Teacher
from imbik.training.encoding import encode
from imbik.training.prediction import predict_logits
from imbik.types import Examples

_BLOCK = 8192
_KEY = np.dtype([("high", "<u8"), ("low", "<u8")])


@dataclass(frozen=True)
class TeacherLogits:
    """Logits of N rows, read from the store's file when they are asked for.

    Attributes:
        values: ``(M, L)`` float32, memory-mapped: the whole store.
        index: ``(N,)`` position in the store of each row.
    """

    values: NDArray[np.float32]
    index: NDArray[np.int32]

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return logits ``(B, L)`` of some rows."""
        return np.asarray(self.values[self.index[rows]])


class TeacherCache:
    """Logits of one teacher, by text.

    Args:
        directory: holds the stores of all teachers.
        teacher: whose outputs are kept; its fingerprint names the store.
    """

    def __init__(self, directory: Path, teacher: Teacher) -> None:
        self.teacher = teacher
        self.width = int(teacher.model.config.num_labels)
        self.directory = directory / f"{teacher.fingerprint[:24]}-{teacher.tokenizer.model_max_length}"
        self.runs = 0
        """Texts that the teacher itself was run on through this object."""

    def logits(self, examples: Examples, progress: Progress) -> TeacherLogits:
        """Return the teacher's logits of every row; texts that the store lacks are computed and added first."""
        keys = _keys(examples)
        self._compute(examples, keys, progress)
        known, values = self._open()
        order = np.argsort(known, order=("high", "low"))
        return TeacherLogits(values, order[np.searchsorted(known[order], keys)].astype(np.int32))

    def _compute(self, examples: Examples, keys: NDArray[np.void], progress: Progress) -> None:
        known, _ = self._open()
        unique, first = np.unique(keys, return_index=True)
        missing = np.sort(first[~np.isin(unique, known)])
        if not len(missing):
            return
        with progress.track("teacher reads the texts", len(missing)) as bar:
            for start in range(0, len(missing), _BLOCK):
                rows = missing[start : start + _BLOCK]
                pairs = None if examples.pairs is None else [examples.pairs[i] for i in rows]
                part = Examples([examples.texts[i] for i in rows], pairs, None, "")
                values = predict_logits(self.teacher.model, encode(part, self.teacher.tokenizer), task=bar)
                self._append(keys[rows], values)
                self.runs += len(rows)

    def _append(self, keys: NDArray[np.void], values: NDArray[np.float32]) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        count = len(self._open()[0])
        for name, record, data in (("logits.bin", 4 * self.width, values), ("keys.bin", _KEY.itemsize, keys)):
            with open(self.directory / name, "ab") as file:
                file.truncate(count * record)  # a torn record of an earlier kill
                file.write(np.ascontiguousarray(data).tobytes())
                file.flush()
                os.fsync(file.fileno())

    def _open(self) -> tuple[NDArray[np.void], NDArray[np.float32]]:
        keys_file, logits_file = self.directory / "keys.bin", self.directory / "logits.bin"
        if not keys_file.is_file() or not logits_file.is_file():
            return np.zeros(0, dtype=_KEY), np.zeros((0, self.width), dtype=np.float32)
        count = min(keys_file.stat().st_size // _KEY.itemsize, logits_file.stat().st_size // (4 * self.width))
        if count == 0:
            return np.zeros(0, dtype=_KEY), np.zeros((0, self.width), dtype=np.float32)
        keys = np.fromfile(keys_file, dtype=_KEY, count=count)
        values = np.memmap(logits_file, dtype=np.float32, mode="r", shape=(count, self.width))
        return keys, values


def _keys(examples: Examples) -> NDArray[np.void]:
    out = np.zeros(len(examples.texts), dtype=_KEY)
    for row, text in enumerate(examples.texts):
        whole = text if examples.pairs is None else f"{text}\x1f{examples.pairs[row]}"
        digest = hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        out[row] = (int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little"))
    return out
