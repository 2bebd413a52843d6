"""What this machine can do, as far as training needs to know."""

from __future__ import annotations

import functools
import platform
from pathlib import Path

import torch


@functools.cache
def cpu_flags() -> frozenset[str]:
    """Instruction-set flags of the processor; empty where the system does not list them."""
    path = Path("/proc/cpuinfo")
    if platform.system() != "Linux" or not path.is_file():
        return frozenset()
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.lower().startswith(("flags", "features")):
            return frozenset(line.split(":", 1)[1].split())
    return frozenset()


@functools.cache
def autocast_dtype() -> torch.dtype | None:
    """bfloat16 where matrix products in it are native (AMX, AVX512-BF16, a GPU that has it), else None (float32)."""
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else None
    return torch.bfloat16 if {"amx_bf16", "avx512_bf16"} & cpu_flags() else None
