"""What the processor that runs an artefact is good at."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

from imbik.errors import UserError
from imbik.machine import cpu_flags


def int8_preset(flags: frozenset[str] | None = None) -> dict[str, Any]:
    """How int8 weights are to be stored for a processor.

    An x86 processor without VNNI adds two products of 8-bit numbers in 16 bits, which overflows when both use
    their full range; seven-bit weights are safe there.

    Args:
        flags: instruction sets of the processor that will run the model; None: of this one.

    >>> int8_preset(frozenset({"avx2"}))
    {'name': 'x86', 'weight_bits': 7}
    >>> int8_preset(frozenset({"avx2", "avx512f", "avx512_vnni"}))
    {'name': 'x86-vnni', 'weight_bits': 8}
    >>> int8_preset(frozenset({"asimd", "asimddp"}))
    {'name': 'arm', 'weight_bits': 8}
    """
    known = cpu_flags() if flags is None else flags
    # macOS and Windows on ARM list no flags
    if known & {"asimd", "neon", "i8mm"} or (not known and platform.machine().lower() in ("arm64", "aarch64")):
        return {"name": "arm", "weight_bits": 8}
    if "amx_int8" in known:
        return {"name": "x86-amx", "weight_bits": 8}
    if known & {"avx512_vnni", "avx_vnni"}:
        return {"name": "x86-vnni", "weight_bits": 8}
    return {"name": "x86", "weight_bits": 7}


def float_precision(preset: Mapping[str, Any], flags: frozenset[str] | None = None) -> str:
    """``bf16`` where the processor of a preset multiplies bfloat16 natively, else ``f32``.

    Args:
        preset: of :func:`int8_preset`; a name that stands for several processors is taken for this one where it fits this one.
        flags: instruction sets of this processor; None: as it says.

    >>> float_precision({"name": "x86-amx"}), float_precision({"name": "x86-vnni"}, frozenset({"avx512_vnni"}))
    ('bf16', 'f32')
    """
    known = cpu_flags() if flags is None else flags
    # VNNI processors came before bf16 ones: the name alone does not promise it, AMX's does
    native = preset["name"] == int8_preset(known)["name"] and bool(known & {"avx512_bf16", "amx_bf16"})
    return "bf16" if native or preset["name"] == "x86-amx" else "f32"


CPUS = {"native": None, "x86": "avx2", "x86-vnni": "avx512_vnni", "x86-amx": "amx_int8", "arm": "asimd"}
"""Names that a user may call the processor by, and the instruction set that stands for each; native: this machine's."""


def preset_for(cpu: str) -> dict[str, Any]:
    """The preset of a processor by name.

    Raises:
        UserError: an unknown name.

    >>> preset_for("x86")
    {'name': 'x86', 'weight_bits': 7}
    """
    if cpu not in CPUS:
        raise UserError("unknown processor", where="--cpu", found=cpu, expected=", ".join(CPUS))
    flag = CPUS[cpu]
    return int8_preset(None if flag is None else frozenset({flag}))
