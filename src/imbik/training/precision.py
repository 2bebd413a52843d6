"""What this machine can do, as far as training needs to know."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from imbik.machine import cpu_flags

_FULL = ContextVar("full precision", default=False)


@functools.cache
def autocast_dtype() -> torch.dtype | None:
    """Return bfloat16 where matrix products in it are native (AMX, AVX512-BF16, a GPU that has it), else None (float32)."""
    # bf16 or nothing: float16 would need its losses scaled, bf16 has the exponents of float32
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else None
    return torch.bfloat16 if {"amx_bf16", "avx512_bf16"} & cpu_flags() else None


def precision(device: torch.device) -> torch.autocast:
    """Context manager: compute matrix products in bf16 where the hardware has it, see :func:`imbik.training.precision.autocast_dtype`."""
    dtype = autocast_dtype()
    return torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None and not _FULL.get())


def is_full() -> bool:
    """Return whether float32 is asked for by :func:`full_precision`."""
    return _FULL.get()


@contextmanager
def full_precision() -> Iterator[None]:
    """Compute in float32 inside of the block, also where training would use bf16: to compare with what an artefact computes."""
    before = _FULL.set(True)
    try:
        yield
    finally:
        _FULL.reset(before)
