"""The parity gate on arrays: what an artefact answers beside what the module gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imbik.errors import UserError, first_line
from imbik.export.parity import TOLERANCE, TOLERANCE_BF16, ParityError
from imbik.modules.export.flat import Flat
from imbik.runtime.modules import Array, load_module

LEAST_SQNR = 15.0
"""Signal to quantization noise, in dB, that an int8 artefact must have beside the module, which rounds to the same grids."""


def check_parity(flat: Flat, batch: bool, directory: Path) -> dict[str, Any]:
    """Compare an artefact with its module: on the example and, where rows are a batch, on one row and on more rows than it was made of.

    Returns:
        ``max_abs`` (largest difference), ``max_abs_relative`` (to the largest value of that output), ``sqnr_db`` and ``rows``.

    Raises:
        ParityError: another shape or type, values that are not finite, a float artefact that differs, an int8 one that is mostly noise.
    """
    artefact = load_module(directory)
    low, quantized = artefact.manifest["precision"] == "bf16", bool(artefact.manifest["quantisation"])
    worst, relative, noise, signal, rows = 0.0, 0.0, 0.0, 0.0, 0
    for values in _probes(flat.inputs.values, batch):
        # the module first: what it cannot do itself is no fault of the artefact
        answers = expected_answers(flat, values, batch)
        found = artefact(*(value.numpy() for value in values))
        arrays: list[Array] = list(found.values()) if isinstance(found, dict) else [found]
        for name, mine, theirs in zip(flat.outputs, arrays, answers, strict=True):
            reference = theirs.numpy()
            if mine.shape != reference.shape:
                raise _refusal(artefact.manifest["engine"], name, f"shape {mine.shape}", f"shape {reference.shape}", batch)
            gap = np.abs(mine.astype(np.float64) - reference)
            worst = max(worst, float(gap.max(initial=0.0)))
            relative = max(relative, float(gap.max(initial=0.0)) / max(float(np.abs(reference).max(initial=0.0)), 1e-6))
            noise, signal = noise + float(np.square(gap).sum()), signal + float(np.square(reference.astype(np.float64)).sum())
        rows += len(values[0])
    sqnr = 10 * float(np.log10(max(signal, 1e-30) / max(noise, 1e-30)))
    tolerance = TOLERANCE_BF16 if low else TOLERANCE
    if not np.isfinite(worst) or (sqnr < LEAST_SQNR if quantized else relative > tolerance):
        found_text = f"values off by {worst:.2e} ({relative:.1e} of the largest, {sqnr:.1f} dB)"
        expected = f"{LEAST_SQNR:.0f} dB" if quantized else f"{tolerance:.0e} of the largest"
        raise _refusal(artefact.manifest["engine"], "", found_text, expected, batch)
    return {"max_abs": worst, "max_abs_relative": relative, "sqnr_db": sqnr, "rows": rows}


def expected_answers(flat: Flat, values: tuple[Tensor, ...], batch: bool) -> list[Tensor]:
    """Return what the module itself gives.

    Raises:
        UserError: it does not run on another number of rows than its example has, or gives another number than it reads.
    """
    rows = len(values[0]) if batch else None
    try:
        answers = flat.answers(values)
    except Exception as error:
        raise _no_batch(rows, first_line(error)) from error
    for answer in answers:
        if batch and len(answer) != rows:
            raise _no_batch(rows, f"{len(answer)} rows")
    return answers


def _no_batch(rows: int | None, found: str) -> UserError:
    return UserError(
        "the module does not answer row by row",
        where=f"{rows} rows",
        found=found,
        expected="as many rows as it reads",
        fix="export with batch=False, for the sizes of the example",
    )


def _probes(values: tuple[Tensor, ...], batch: bool) -> list[tuple[Tensor, ...]]:
    """List the inputs that are compared."""
    if not batch:
        return [values]
    # a size that the exporter has taken for a constant shows where the batch has another one
    more = tuple(torch.cat([value, value.flip(0), value[:1]]) for value in values)
    return [values, tuple(value[:1] for value in values), more]


def _refusal(engine: str, name: str, found: str, expected: str, batch: bool) -> ParityError:
    return ParityError(
        "the artefact answers otherwise than the module",
        where=f"{engine}, {name}" if name else engine,
        found=found,
        expected=expected,
        fix="export with batch=False, if the module takes one size of batch alone" if batch else "choose another engine",
    )
