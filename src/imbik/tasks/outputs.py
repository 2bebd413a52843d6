"""What a model gives for N texts, whatever the task: one array, or several by name, each with a row per text or a row per token.

An array with as many rows per text as the text has tokens is *ragged*: an object array ``(N,)`` whose elements are the texts' own
arrays. A file holds it as its values one after the other and the offsets of the texts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TEXTS, IMAGES = "texts", "images"
"""What models read, :attr:`imbik.tasks.task.Task.reads`."""

Array = NDArray[Any]
Outputs = Array | Mapping[str, Array]
"""Of N texts: an array whose first axis is N (possibly ragged), or several such arrays by name."""

PLACES = "places"
"""Name under which outputs carry where the tokens stand in the texts, see
:func:`imbik.tasks.spans.places.places_of`."""


DECISION = "decision"
"""Name under which outputs carry a number a text by which the model decides to give no answer, see :meth:`imbik.tasks.task.Task.settle`."""

BESIDE = frozenset({PLACES, DECISION})
"""What outputs carry that the model did not compute."""


@dataclass(frozen=True)
class Output:
    """One array that a model gives.

    Attributes:
        name: what transformers' model output calls it (``logits``, ``start_logits``).
        per_token: whether it has a row for every token of a text; else one for the text.
        labels: whether its last axis runs over the labels; else a text (or token) has one number.
    """

    name: str = "logits"
    per_token: bool = False
    labels: bool = True


def ragged(rows: Iterable[Array]) -> Array:
    """Return rows of different lengths as one object array ``(N,)``.

    >>> ragged([np.zeros((2, 3)), np.zeros((1, 3))]).shape
    (2,)
    """
    held = list(rows)
    # np.array(rows) would stack rows that happen to be of one length
    array = np.empty(len(held), dtype=object)
    for index, row in enumerate(held):
        array[index] = row
    return array


def is_ragged(array: Array) -> bool:
    """Return whether the rows of an array are arrays of their own."""
    return array.dtype == object


def pack(array: Array) -> tuple[Array, NDArray[np.int64]]:
    """Return a ragged array as its values, one after the other, and the offsets ``(N + 1,)`` of its rows.

    >>> values, offsets = pack(ragged([np.array([1, 2]), np.array([3])]))
    >>> values.tolist(), offsets.tolist()
    ([1, 2, 3], [0, 2, 3])
    """
    offsets = np.zeros(len(array) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in array], out=offsets[1:])
    return (np.concatenate(list(array)) if len(array) else np.zeros(0, np.float32)), offsets


def unpack(values: Array, offsets: NDArray[np.int64]) -> Array:
    """Return the ragged array that :func:`pack` was given."""
    return ragged(values[start:stop] for start, stop in itertools.pairwise(offsets))


def take(outputs: Outputs, rows: Array | Sequence[int] | slice) -> Outputs:
    """Return the outputs of some texts, in the order of ``rows``."""
    if isinstance(outputs, Mapping):
        return {name: array[rows] for name, array in outputs.items()}
    chosen: Array = outputs[rows]
    return chosen


def only(outputs: Outputs) -> Array:
    """Return the one array that outputs are."""
    assert not isinstance(outputs, Mapping)
    return outputs


def joined(outputs: Outputs, owners: NDArray[np.int64], count: int) -> Outputs:
    """Return the outputs of ``count`` texts from those of their windows, one window behind the other.

    Args:
        outputs: of M windows, all per token.
        owners: the text of each window, ``(M,)`` ascending; every text has at least one.
        count: texts.

    >>> rows = joined(ragged([np.ones(2), np.ones(3), np.ones(1)]), np.array([0, 0, 1]), 2)
    >>> [len(row) for row in rows]
    [5, 1]
    """
    starts = np.searchsorted(owners, np.arange(count + 1))
    spans = list(itertools.pairwise(starts.tolist()))

    def whole(array: Array) -> Array:
        return ragged(np.concatenate(list(array[low:high])) if high - low > 1 else array[low] for low, high in spans)

    if isinstance(outputs, Mapping):
        return {name: whole(array) for name, array in outputs.items()}
    return whole(outputs)


def beside(outputs: Outputs) -> Array:
    """Return the outputs of the two texts of each row, ``(N, 2, …)``, from those of all texts in turn, ``(2 N, …)``.

    >>> beside(np.arange(8).reshape(4, 2)).shape
    (2, 2, 2)
    """
    rows = only(outputs)
    return rows.reshape(len(rows) // 2, 2, *rows.shape[1:])


def chained(parts: Sequence[Outputs]) -> Outputs:
    """Return the outputs of texts that were computed part by part.

    >>> chained([np.zeros((2, 3)), np.zeros((1, 3))]).shape
    (3, 3)
    """
    if len(parts) == 1:
        return parts[0]
    names = [name for name, _ in _named(parts[0])]
    columns = {name: [dict(_named(part))[name] for part in parts] for name in names}
    whole = {
        name: ragged(row for part in column for row in part) if is_ragged(column[0]) else np.concatenate(column)
        for name, column in columns.items()
    }
    return whole if isinstance(parts[0], Mapping) else whole[""]


def with_decision(outputs: Outputs, decision: float | None) -> Outputs:
    """Return outputs that carry the number by which their model decides; unchanged where it has none."""
    if decision is None or not isinstance(outputs, Mapping):
        return outputs
    return {**outputs, DECISION: np.full(count_of(outputs), decision, np.float32)}


def count_of(outputs: Outputs) -> int:
    """Return N, the number of texts."""
    return len(next(iter(outputs.values()))) if isinstance(outputs, Mapping) else len(outputs)


def numbers_of(outputs: Outputs) -> NDArray[np.float32]:
    """Return every number that the model computed, in one row and in an order of its own: for differences of two models.

    >>> numbers_of({"a": np.ones((2, 2)), "places": np.zeros((2, 3))}).shape
    (4,)
    """
    arrays = [array for name, array in sorted(_named(outputs), key=lambda pair: pair[0]) if name not in BESIDE]
    return np.concatenate([(pack(array)[0] if is_ragged(array) else array).astype(np.float32, copy=False).ravel() for array in arrays])


def to_arrays(outputs: Outputs, name: str) -> dict[str, Array]:
    """Return outputs as plain arrays for a file: ``name`` for a single array, else ``name.part``; ragged ones as values and offsets.

    >>> sorted(to_arrays({"x": ragged([np.zeros(2)])}, "test"))
    ['test.x.offsets', 'test.x.values']
    """
    arrays: dict[str, Array] = {}
    for part, array in _named(outputs):
        key = f"{name}.{part}" if part else name
        if is_ragged(array):
            arrays[f"{key}.values"], arrays[f"{key}.offsets"] = pack(array)
        else:
            arrays[key] = array
    return arrays


def from_arrays(arrays: Mapping[str, Array], name: str) -> Outputs:
    """Return the outputs that :func:`to_arrays` was given.

    Raises:
        KeyError: ``arrays`` holds none of this name.
    """
    if name in arrays:
        return arrays[name]
    parts = {key.removeprefix(f"{name}.") for key in arrays if key == f"{name}.values" or key.startswith(f"{name}.")}
    if not parts:
        raise KeyError(name)
    # a single ragged array; with a name in between it is one of several
    if parts == {"values", "offsets"}:
        return unpack(arrays[f"{name}.values"], arrays[f"{name}.offsets"])
    whole = {part.removesuffix(".values") for part in parts if not part.endswith(".offsets")}
    return {part: only(from_arrays(arrays, f"{name}.{part}")) for part in sorted(whole)}


def _named(outputs: Outputs) -> list[tuple[str, Array]]:
    return list(outputs.items()) if isinstance(outputs, Mapping) else [("", outputs)]


class Collector:
    """Outputs of N texts, put together from batches in any order.

    Args:
        count: N.
        kinds: what the model gives (:attr:`imbik.tasks.task.Task.outputs`); a single one without places becomes a bare array.
        width: labels of the model; what an empty result has as its second axis.
        places: whether :meth:`put` is also given where the tokens stand.
    """

    def __init__(self, count: int, kinds: Sequence[Output], width: int, *, places: bool = False) -> None:
        self.count, self.kinds, self.places = count, tuple(kinds), places
        self._width = width
        self._arrays: dict[str, Array] = {}

    def put(
        self, rows: NDArray[np.int64], values: Outputs, mask: NDArray[np.int64] | None = None, places: Sequence[Array] | None = None
    ) -> None:
        """Take in a batch.

        Args:
            rows: numbers of its B texts.
            values: ``(B, …)`` of each output, ``(B, T, …)`` of one per token: padded as the model saw them.
            mask: ``(B, T)``, 1 where a token is no padding; needed where an output is per token.
            places: of each text, ``(tokens, 3)``.
        """
        for kind in self.kinds:
            array = values[kind.name] if isinstance(values, Mapping) else values
            if not kind.per_token:
                self._dense(kind.name, array)[rows] = array
                continue
            assert mask is not None, "an output per token needs the mask of its batch"
            self._put_ragged(kind.name, rows, [one[keep.astype(bool)] for one, keep in zip(array, mask, strict=True)])
        if self.places:
            assert places is not None, "the task needs the places of its tokens"
            self._put_ragged(PLACES, rows, places)

    def result(self) -> Outputs:
        """Return the outputs of all texts."""
        if not self._arrays:
            empty = {kind.name: np.zeros((0,) if kind.per_token else (0, self._width), np.float32) for kind in self.kinds}
            self._arrays = empty | ({PLACES: np.zeros(0, object)} if self.places else {})
        return self._arrays if len(self._arrays) > 1 else next(iter(self._arrays.values()))

    def _dense(self, name: str, like: Array) -> Array:
        if name not in self._arrays:
            # not zeros: every row is put exactly once
            self._arrays[name] = np.empty((self.count, *like.shape[1:]), dtype=np.float32)
        return self._arrays[name]

    def _put_ragged(self, name: str, rows: NDArray[np.int64], values: Sequence[Array]) -> None:
        held = self._arrays.setdefault(name, np.empty(self.count, dtype=object))
        for row, value in zip(rows, values, strict=True):
            held[row] = value
