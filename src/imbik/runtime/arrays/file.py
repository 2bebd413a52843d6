"""Arrays on disk: NumPy's own zip file, in which a matrix may be floats, or integers of 8 or 4 bits with scales.

An array ``name`` is either the entry ``name`` as it is, or ``name.int8`` ``(N, K)`` or ``name.int4`` ``(N, ⌈K / 2⌉)`` beside
``name.scale`` ``(N, B)``, one scale for each of the B blocks of equal width that a row is cut into, and ``name.width``, K: a number
is the product of its integer and its block's scale. Of two 4-bit integers in a byte the first has the low bits; both are stored 8
higher than they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MODEL = "model.npz"


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return every array of a file, integers with scales as float32.

    Raises:
        OSError, ValueError, KeyError: the file is damaged.
    """
    with np.load(path, allow_pickle=False) as file:
        stored = _since({name: file[name] for name in file.files})
    arrays: dict[str, NDArray[Any]] = {}
    for name, values in stored.items():
        base, _, form = name.rpartition(".")
        if form == "int8":
            arrays[base] = scaled(values, stored[f"{base}.scale"])
        elif form == "int4":
            arrays[base] = scaled(unpack_nibbles(values, int(stored[f"{base}.width"])), stored[f"{base}.scale"])
        elif form not in ("scale", "width"):
            arrays[name] = values
    return arrays


def _since(stored: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the entries of a file under today's names: linear models had a form of their own, on the engine ``table``."""
    if not {"rows", "scale"} <= stored.keys():
        return stored
    weights = {"weights.int8": stored["rows"], "weights.scale": stored["scale"][:, None]}
    return {"kind": np.array("linear"), "padding": np.array(0), "idf": stored["idf"], "bias": stored["bias"], **weights}


def unpack_nibbles(packed: NDArray[np.uint8], width: int) -> NDArray[np.int8]:
    """Return the signed 4-bit numbers ``(N, width)`` of bytes ``(N, ⌈width / 2⌉)``.

    >>> unpack_nibbles(np.array([[0x1F, 0x08]], np.uint8), 3).tolist()
    [[7, -7, 0]]
    """
    pairs = np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(packed), -1)[:, :width]
    return pairs.astype(np.int8) - np.int8(8)


def pack_nibbles(numbers: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Return numbers of -8 to 7, ``(N, K)``, two in a byte: the inverse of :func:`unpack_nibbles`.

    >>> unpack_nibbles(pack_nibbles(np.array([[7, -7, 0]], np.int8)), 3).tolist()
    [[7, -7, 0]]
    """
    raised = (numbers + np.int8(8)).astype(np.uint8)
    if raised.shape[1] % 2:
        raised = np.concatenate([raised, np.full((len(raised), 1), 8, np.uint8)], axis=1)
    packed: NDArray[np.uint8] = raised[:, ::2] | (raised[:, 1::2] << 4).astype(np.uint8)
    return packed


def scaled(integers: NDArray[np.int8], scales: NDArray[Any]) -> NDArray[np.float32]:
    """Return integers ``(N, K)`` times the scales ``(N, B)`` of their blocks.

    >>> scaled(np.array([[1, 2, 3]], np.int8), np.array([[0.5, 2.0]], np.float16)).tolist()
    [[0.5, 1.0, 6.0]]
    """
    width = integers.shape[1]
    block = -(-width // scales.shape[1])
    return integers.astype(np.float32) * np.repeat(scales.astype(np.float32), block, axis=1)[:, :width]
