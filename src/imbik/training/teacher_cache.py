"""Cache of a teacher's outputs, by text, on disk: the teacher runs once per text, for every epoch and every recipe.

A store is append-only files per (teacher, maximum length): 16-byte digests of the texts, and their outputs in float32, one text
after the other. Where texts have outputs per token, a third file holds how many numbers each text has. A program that is killed
while it appends leaves at most one torn record, which the next opening drops.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from imbik.data.carving.apart import each_text
from imbik.jobs.progress import Progress
from imbik.models.inputs import Tensors
from imbik.models.teacher import Teacher
from imbik.tasks.outputs import Array, Output, Outputs, is_ragged, ragged
from imbik.tasks.registry import task_of
from imbik.training.encoding import Encoded, encode_for
from imbik.training.prediction import dev_quality, pad, predict_rows
from imbik.types import Examples, Splits

# texts between two appends: what a kill can lose
_BLOCK = 8192
_KEY = np.dtype([("high", "<u8"), ("low", "<u8")])


@dataclass(frozen=True)
class Layout:
    """How the outputs of one text lie in a row of numbers.

    Attributes:
        outputs: what the teacher gives.
        labels: L.
    """

    outputs: tuple[Output, ...]
    labels: int

    def shape(self, output: Output) -> tuple[int, ...]:
        """Return the shape of one text's (or token's) part of an output."""
        return (self.labels,) if output.labels else ()

    @property
    def fixed(self) -> int | None:
        """Numbers of every text; None where it depends on its tokens."""
        return None if any(output.per_token for output in self.outputs) else self._width(per_token=False)

    def _width(self, *, per_token: bool) -> int:
        return sum(math.prod(self.shape(output)) for output in self.outputs if output.per_token == per_token)

    def flat(self, outputs: Outputs, count: int) -> list[NDArray[np.float32]]:
        """Return every text's outputs as one row of numbers."""
        arrays = outputs if isinstance(outputs, Mapping) else {self.outputs[0].name: outputs}
        kept = [arrays[output.name] for output in self.outputs]
        return [np.concatenate([np.asarray(array[row], np.float32).ravel() for array in kept]) for row in range(count)]

    def tokens(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many tokens texts of so many numbers have."""
        return (numbers - self._width(per_token=False)) // max(self._width(per_token=True), 1)

    def parts(self, row: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Return one text's outputs by name from its row of numbers."""
        tokens = int(self.tokens(np.array(len(row), np.int64)))
        parts: dict[str, NDArray[np.float32]] = {}
        start = 0
        for output in self.outputs:
            shape = ((tokens,) if output.per_token else ()) + self.shape(output)
            stop = start + math.prod(shape)
            parts[output.name] = row[start:stop].reshape(shape)
            start = stop
        return parts


@dataclass(frozen=True)
class TeacherLogits:
    """A teacher's outputs of N rows, read from the store's file when they are asked for.

    Attributes:
        values: the whole store, memory-mapped: ``(M, L)`` float32, or all numbers in one row where texts have different ones.
        index: ``(N,)`` position in the store of each row; ``(N, 2)`` of rows whose two texts were read apart.
        offsets: ``(M + 1,)`` where each text's numbers begin in ``values``; None where all have the same.
        layout: of one text's numbers.
    """

    values: NDArray[np.float32]
    index: NDArray[np.int32]
    offsets: NDArray[np.int64] | None = None
    layout: Layout | None = None

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return logits ``(B, L)`` of some rows, of a teacher that gives one row of logits a text."""
        return np.asarray(self.values[self.index[rows]])

    def tokens(self) -> NDArray[np.int64] | None:
        """Return how many tokens each row has, (N,); None where outputs are not per token."""
        if self.layout is None or self.offsets is None:
            return None
        return self.layout.tokens(np.diff(self.offsets)[self.index])

    def outputs(self, rows: NDArray[np.int64]) -> Outputs:
        """Return the outputs of some rows: logits ``(B, L)``, or what the task says; those per token are ragged."""
        if self.layout is None or (len(self.layout.outputs) == 1 and self.layout.fixed is not None):
            return self.take(rows)
        parts = [self.layout.parts(self._numbers(int(place))) for place in self.index[rows]]
        arrays: dict[str, Array] = {}
        for output in self.layout.outputs:
            column = [part[output.name] for part in parts]
            arrays[output.name] = ragged(column) if output.per_token else np.stack(column)
        return arrays if len(arrays) > 1 else next(iter(arrays.values()))

    def tensors(self, rows: NDArray[np.int64], width: int | None, device: torch.device) -> Tensors:
        """Return the outputs of some rows as a head takes them, padded to ``width`` tokens where they are per token."""
        outputs = self.outputs(rows)
        if isinstance(outputs, Mapping):
            return {name: _tensor(array, width, device) for name, array in outputs.items()}
        return _tensor(outputs, width, device)

    def _numbers(self, place: int) -> NDArray[np.float32]:
        if self.offsets is None:
            return np.asarray(self.values[place])
        return np.asarray(self.values[self.offsets[place] : self.offsets[place + 1]])


@dataclass(frozen=True)
class MeanLogits(TeacherLogits):
    """The mean of several teachers' logits of N rows, computed when rows are asked for.

    Attributes:
        parts: each teacher's.
    """

    parts: tuple[TeacherLogits, ...] = ()

    @classmethod
    def of(cls, parts: Sequence[TeacherLogits]) -> MeanLogits:
        """Return the mean of what several teachers say of the same rows."""
        first = parts[0]
        return cls(first.values, first.index, first.offsets, first.layout, tuple(parts))

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return logits ``(B, L)`` of some rows."""
        return np.asarray(np.mean([part.take(rows) for part in self.parts], axis=0, dtype=np.float32), np.float32)


def _tensor(array: Array, width: int | None, device: torch.device) -> torch.Tensor:
    if not is_ragged(array):
        return torch.from_numpy(array).to(device)
    assert width is not None, "outputs per token need the width of their batch"
    return pad(array, width, 0.0).to(device)


class TeacherCache:
    """Outputs of one teacher, by text; of several that answer together, each one's in a store of its own.

    Args:
        directory: holds the stores of all teachers.
        teacher: whose outputs are kept; its fingerprint names the store.
    """

    def __init__(self, directory: Path, teacher: Teacher) -> None:
        # a store for each: one that answered alone before is not asked again
        alone = tuple(teacher.members.values())
        self.members = tuple(TeacherCache(directory, member) for member in alone) if teacher.others else ()
        self.teacher = teacher = alone[0]
        self.layout = Layout(task_of(teacher.task).outputs, int(teacher.model.config.num_labels))
        # 24 hex digits are 96 bits; the length is part of it because it decides what the teacher
        # reads
        self.directory = directory / f"{teacher.fingerprint[:24]}-{teacher.tokenizer.model_max_length}"
        self.runs = 0
        """Texts that the teacher itself was run on through this object."""

    def logits(self, examples: Examples, progress: Progress) -> TeacherLogits:
        """Return the teacher's outputs of every row; texts that the store lacks are computed and added first."""
        if self.members:
            return MeanLogits.of([member.logits(examples, progress) for member in self.members])
        task = task_of(self.teacher.task)
        apart = task.apart and examples.pairs is not None
        examples = each_text(examples) if apart else examples
        keys, encoded = _keys(examples), None
        if task.overlap:  # of a long text every window has a record
            encoded = encode_for(task.name, examples, self.teacher.tokenizer)
            assert encoded.owners is not None
            keys = _window_keys(keys, encoded.owners)
        self._compute(examples, encoded, keys, progress)
        known, values, offsets = self._open()
        order = np.argsort(known, order=("high", "low"))
        index = order[np.searchsorted(known[order], keys)].astype(np.int32)
        return TeacherLogits(values, index.reshape(-1, 2) if apart else index, offsets, self.layout)

    def dev_quality(self, splits: Splits, progress: Progress) -> float:
        """Return the metric of what is learned from, on dev."""
        dev, task = splits.dev, task_of(splits.task)
        if task.places:  # of which the stores know nothing
            return dev_quality(splits, encode_for(task.name, dev, self.teacher.tokenizer))(self.teacher.model)
        outputs = self.logits(dev, progress).outputs(np.arange(len(dev.texts)))
        return float(task.score(splits.metric, task.decode(outputs), np.asarray(dev.targets)))

    def _compute(self, examples: Examples, windows: Encoded | None, keys: NDArray[np.void], progress: Progress) -> None:
        missing = _first_unknown(keys, self._open()[0])
        if not len(missing):
            return
        with progress.track("teacher reads the texts", len(missing)) as bar:
            for start in range(0, len(missing), _BLOCK):
                rows = missing[start : start + _BLOCK]
                encoded = self._encoded(examples, rows) if windows is None else windows.take(rows)
                self._append(keys[rows], predict_rows(self.teacher.model, encoded, self.teacher.task, bar=bar))
                self.runs += len(rows)

    def _encoded(self, examples: Examples, rows: NDArray[np.int64]) -> Encoded:
        pairs = None if examples.pairs is None else [examples.pairs[i] for i in rows]
        part = Examples([examples.texts[i] for i in rows], pairs, None, "")
        return encode_for(self.teacher.task, part, self.teacher.tokenizer)

    def _append(self, keys: NDArray[np.void], outputs: Outputs) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        known, values, _ = self._open()
        added = self.layout.flat(outputs, len(keys))
        # keys last: a record counts from the moment its key is there, so that a kill in between
        # leaves numbers without a key, which the next append cuts off
        files = [("logits.bin", 4 * values.size, np.concatenate(added)), ("keys.bin", _KEY.itemsize * len(known), keys)]
        if self.layout.fixed is None:
            files.insert(1, ("sizes.bin", 8 * len(known), np.array([len(row) for row in added], dtype="<i8")))
        for name, size, data in files:
            with open(self.directory / name, "ab") as file:
                file.truncate(size)  # a torn record of an earlier kill
                file.write(np.ascontiguousarray(data).tobytes())
                file.flush()
                os.fsync(file.fileno())

    def _open(self) -> tuple[NDArray[np.void], NDArray[np.float32], NDArray[np.int64] | None]:
        """Return keys, values and offsets of all whole records."""
        if self.layout.fixed is None:
            return self._open_ragged()
        width = self.layout.fixed
        count = min(self._size("keys.bin") // _KEY.itemsize, self._size("logits.bin") // (4 * width))
        if count == 0:
            return np.zeros(0, dtype=_KEY), np.zeros((0, width), dtype=np.float32), None
        keys = np.fromfile(self.directory / "keys.bin", dtype=_KEY, count=count)
        return keys, np.memmap(self.directory / "logits.bin", dtype=np.float32, mode="r", shape=(count, width)), None

    def _open_ragged(self) -> tuple[NDArray[np.void], NDArray[np.float32], NDArray[np.int64]]:
        count = min(self._size("keys.bin") // _KEY.itemsize, self._size("sizes.bin") // 8)
        sizes = np.fromfile(self.directory / "sizes.bin", dtype="<i8", count=count) if count else np.zeros(0, np.int64)
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        # as many texts as have all of their numbers on disk
        count = int(np.searchsorted(offsets, self._size("logits.bin") // 4, side="right")) - 1
        if count <= 0:
            return np.zeros(0, dtype=_KEY), np.zeros(0, dtype=np.float32), np.zeros(1, dtype=np.int64)
        offsets = offsets[: count + 1]
        keys = np.fromfile(self.directory / "keys.bin", dtype=_KEY, count=count)
        return keys, np.memmap(self.directory / "logits.bin", dtype=np.float32, mode="r", shape=(int(offsets[-1]),)), offsets

    def _size(self, name: str) -> int:
        path = self.directory / name
        return path.stat().st_size if path.is_file() else 0


def _first_unknown(keys: NDArray[np.void], known: NDArray[np.void]) -> NDArray[np.int64]:
    """Return the rows whose keys are not known, of equal ones the first, in the order of the rows."""
    unique, first = np.unique(keys, return_index=True)
    return np.asarray(np.sort(first[~np.isin(unique, known)]), np.int64)


def _window_keys(keys: NDArray[np.void], owners: NDArray[np.int64]) -> NDArray[np.void]:
    """Return a key for each window of the texts: the text's, mixed with the window's number."""
    out = keys[owners]
    number = np.arange(len(owners)) - np.searchsorted(owners, owners)
    # an odd factor: windows of one text stay apart; overflow wraps and is meant to
    out["low"] ^= number.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return out


def _keys(examples: Examples) -> NDArray[np.void]:
    out = np.zeros(len(examples.texts), dtype=_KEY)
    for row, text in enumerate(examples.texts):
        # the unit separator keeps ("a", "bc") and ("ab", "c") apart
        whole = text if examples.pairs is None else f"{text}\x1f{examples.pairs[row]}"
        # surrogatepass: texts of broken files hold lone surrogates, which UTF-8 refuses.
        # 128 bits: no two of a billion texts will ever share a key
        content = whole if isinstance(whole, bytes) else whole.encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(content, digest_size=16).digest()
        out[row] = (int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little"))
    return out
