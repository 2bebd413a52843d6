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
    "nanotoken",
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


def _told(*names: str) -> str:
    """Return what the first processor says under the first of some names; empty where it says nothing."""
    return next((block[name] for block in _cpuinfo()[:1] for name in names if block.get(name)), "")


def cpu_flags() -> frozenset[str]:
    """Return the instruction sets of the processor, as the operating system names them.

    Empty where it does not tell.
    """
    # "flags" on x86, "Features" on ARM.
    return frozenset(_told("flags", "Features").split())


def cpu_model() -> str:
    """Return the processor's name."""
    return _told("model name", "Model") or platform.processor() or platform.machine()


def logical_cores() -> int:
    """Count the logical processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def physical_cores() -> int:
    """Count the physical cores that this process may run on, at least 1.

    Hardware threads of one core count once. A quota of a control group (a container with ``--cpus 1``) counts too: more threads than it
    allows are stopped again and again, and wait for each other.
    """
    allowed = set(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    # A core is told by its socket and its number there; ARM and virtual machines may give neither.
    place = ("physical id", "core id")
    cores = {
        tuple(block.get(name) for name in place)
        for block in _cpuinfo()
        if "core id" in block and (allowed is None or ("processor" in block and int(block["processor"]) in allowed))
    }
    count = len(cores) or logical_cores()
    quota = cpu_quota()
    return count if quota is None else max(1, min(count, int(quota)))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return how many processors the control groups of this process allow; None: no limit.

    Args:
        root: where ``proc`` and ``sys`` lie.

    Both versions are read: ``cpu.max`` (v2), ``cpu.cfs_quota_us`` and ``cpu.cfs_period_us`` (v1), of the process's own group and of every
    group above it, as far as a container shows them; the smallest counts.
    """
    try:
        groups = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = []
    for number, controllers, own in (line.split(":", 2) for line in groups if line.count(":") >= 2):
        if number == "0" and not controllers:
            homes = (root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified")
        elif "cpu" in controllers.split(","):
            homes = (root / "sys/fs/cgroup/cpu", root / "sys/fs/cgroup" / controllers)
        else:
            continue
        inner = Path(own.lstrip("/"))
        # a container sees its own group as the root, under a path of the host that is not there
        found += [_quota(home / group) for home in homes for group in (inner, *inner.parents)]
    return min((quota for quota in found if quota is not None), default=None)


def _quota(group: Path) -> float | None:
    """Return the processors that one control group allows; None: no limit, or no such group."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            words = " ".join((group / name).read_text(encoding="ascii") for name in names).split()
            quota, period = float(words[0]), float(words[1])
        except (OSError, ValueError, IndexError):  # "max 100000" is no limit
            continue
        if quota > 0 and period > 0:
            return quota / period
    return None


_PASSIVE = {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}
_SET_HERE: set[str] = set()


def wait_passively() -> None:
    """Make OpenMP's threads sleep while they wait for one another.

    It must be called before a library with OpenMP loads.
    Threads that spin take the core from the one that they wait for, as soon as the machine has other work. What the user has set stays.
    """
    for name, value in _PASSIVE.items():
        if name not in os.environ:
            os.environ[name] = value
            _SET_HERE.add(name)


def users_environment() -> dict[str, str]:
    """Return the environment without what :func:`wait_passively` has set.

    For processes that are timed: their engines run as users run them.
    """
    return {name: value for name, value in os.environ.items() if name not in _SET_HERE}


def worker_environment(threads: int) -> dict[str, str]:
    """Return the environment of a process that computes with so many threads.

    The libraries read it once, when they load: it must stand before the process begins.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    quiet = {"TOKENIZERS_PARALLELISM": "true", "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_OFFLINE": "1", "PYTHONUTF8": "1"}
    return users_environment() | quiet | dict.fromkeys(names, str(threads))


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
