"""Facts about the machine that a measurement runs on: processor, cores, memory, versions.

Standard library only, so that every other package may import it.
"""

from __future__ import annotations

import os
import platform
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

# Instruction sets that decide how fast integer and bf16 products run: AVX-512 and AMX on x86,
# dot products (asimddp, i8mm, sve) on ARM.
_INTERESTING = (
    "avx2",
    "avx512f",
    "avx_vnni",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimddp",
    "i8mm",
    "sve",
    "bf16",
)
_PACKAGES = (
    "imbik",
    "numpy",
    "tokenizers",
    "onnxruntime",
    "torch",
    "transformers",
    "onnx",
    "openvino",
    "executorch",
)


@cache
def _cpuinfo() -> tuple[dict[str, str], ...]:
    """Return one mapping per logical processor; empty where there is no /proc/cpuinfo."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    blocks = []
    for block in text.strip().split("\n\n"):
        # A line reads "flags : fpu vme de"; the blocks of the processors are parted by an empty line.
        pairs = (line.split(":", 1) for line in block.splitlines() if ":" in line)
        blocks.append({key.strip(): value.strip() for key, value in pairs})
    return tuple(blocks)


def cpu_flags() -> frozenset[str]:
    """Return the instruction sets of the processor, as the operating system names them.

    Empty where it does not tell.
    """
    blocks = _cpuinfo()
    if not blocks:
        return frozenset()
    # "flags" on x86, "Features" on ARM.
    return frozenset((blocks[0].get("flags") or blocks[0].get("Features") or "").split())


def cpu_model() -> str:
    """Return the processor's name."""
    blocks = _cpuinfo()
    name = blocks[0].get("model name") or blocks[0].get("Model") if blocks else None
    return name or platform.processor() or platform.machine()


def logical_cores() -> int:
    """Count the logical processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def physical_cores() -> int:
    """Count the physical cores that this process may run on.

    Hardware threads of one core count once.
    """
    allowed = set(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    # A core is told by its socket and its number there; ARM and virtual machines may give neither.
    cores = {
        (block.get("physical id"), block.get("core id"))
        for block in _cpuinfo()
        if "core id" in block and (allowed is None or int(block.get("processor", -1)) in allowed)
    }
    return len(cores) or logical_cores()


def memory_bytes() -> int | None:
    """Return the size of main memory in bytes, or None where it cannot be asked for."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def versions(packages: tuple[str, ...] = _PACKAGES) -> dict[str, str]:
    """Return package -> version, of those that are installed."""
    installed = {"python": platform.python_version()}
    for package in packages:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return installed


def environment(threads: int | None = None) -> dict[str, Any]:
    """Collect what ``results.json`` records about the machine.

    Args:
        threads: compute threads that the measurements used; None: the physical cores.

    >>> sorted(environment(threads=1))
    ['cores', 'cpu', 'flags', 'load', 'logical_cores', 'machine', 'memory_bytes', 'os', 'threads', 'versions']
    """
    return {
        "cpu": cpu_model(),
        "flags": [flag for flag in _INTERESTING if flag in cpu_flags()],
        "machine": platform.machine(),
        "cores": physical_cores(),
        "logical_cores": logical_cores(),
        "threads": threads or physical_cores(),
        "memory_bytes": memory_bytes(),
        "os": platform.platform(),
        # One minute's average: who reads a slow result sees whether the machine was busy.
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") and sys.platform != "win32" else None,
        "versions": versions(),
    }
