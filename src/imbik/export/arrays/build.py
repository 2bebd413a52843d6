"""Write ``model.npz``: the model's arrays, matrices as integers where the request asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imbik.export.arrays.lowering import Arrays, lowerings
from imbik.export.request import BuildRequest
from imbik.quantization.integer import symmetric
from imbik.runtime.arrays.file import MODEL, pack_nibbles
from imbik.types import Checkpoint

_FEW = 1024
"""Matrices of fewer numbers stay in float: there is nothing to gain."""

_PRODUCTS = ("inner", "mix", "read", "remember", "score", "weight")
"""Matrices that something is multiplied with."""

_FINE = ("scores", "score")
"""Matrices that never take 4 bits: what a query thinks of a piece is an exponent."""


def build(checkpoint: Checkpoint, directory: Path, request: BuildRequest) -> dict[str, Any]:
    """Write ``model.npz``.

    Args:
        checkpoint: the model; it comes back as it was.
        directory: an existing folder.
        request: see :class:`imbik.export.request.BuildRequest`.

    Returns:
        ``inputs``, ``model``, ``quantisation``, ``graph`` and ``operators`` for the manifest.
    """
    arrays = lowerings()[str(checkpoint.model.config.model_type)](checkpoint.model)
    operators = [name for name, values in arrays.items() if values.ndim == 2 and values.size >= _FEW]
    settings = request.quantize
    chosen = [name for name in operators if settings is not None and name not in request.reverted]
    stored: Arrays = {}
    for name, values in arrays.items():
        stored |= _integers(name, values, settings or {}) if name in chosen else {name: values}
    np.savez_compressed(directory / MODEL, **stored)  # type: ignore[arg-type]  # its stubs have a flag among the names
    return {
        "model": MODEL,
        "inputs": ["input_ids"],
        "quantisation": None if settings is None else _record(settings, chosen),
        # integers are stored and not computed with: every product stays one of floats
        "graph": {"int8_ops": 0, "float_matmuls": sum(name.split(".")[0] in _PRODUCTS for name in arrays)}
        | ({"unit": True} if "unit" in arrays else {}),
        "operators": operators,
    }


def _integers(name: str, values: NDArray[np.float32], settings: Mapping[str, Any]) -> Arrays:
    """Return the entries of one matrix in 8 or 4 bits, see :mod:`imbik.runtime.arrays.file`."""
    narrow = settings["scheme"] == "weight-only" and int(settings["bits"]) == 4 and name not in _FINE
    rows, width = values.shape
    block = min(int(settings["block"]), width) if settings["scheme"] == "weight-only" else width
    blocks = -(-width // block)
    padded = np.zeros((rows, blocks * block), np.float32)
    padded[:, :width] = values
    # one scale a row, or a block of it
    integers, scale = symmetric(padded.reshape(rows * blocks, block), axis=0, bits=4 if narrow else 8)
    integers = integers.reshape(rows, -1)[:, :width]
    entries = {f"{name}.scale": scale.reshape(rows, blocks).astype(np.float16), f"{name}.width": np.array(width)}
    return entries | ({f"{name}.int4": pack_nibbles(integers)} if narrow else {f"{name}.int8": integers})


def _record(settings: Mapping[str, Any], chosen: list[str]) -> dict[str, Any]:
    tables = [name for name in chosen if name in ("vectors", "scores")]
    bits = int(settings["bits"]) if settings["scheme"] == "weight-only" else 8
    return {"scheme": settings["scheme"], "weight_bits": bits, "products": len(chosen) - len(tables), "tables": len(tables)}
