"""The shape of ``results.json``, schema 1: which field holds what. Unknown fields are let through, so that a
file from a later imbik with more in it still reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imbik.errors import UserError

SCHEMA = 1

_Number = Annotated[float, Field(allow_inf_nan=False)]
_Count = Annotated[float, Field(allow_inf_nan=False, ge=0)]


class _Loose(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Interval(_Loose):
    value: _Number | None = None
    low: _Number | None = None
    high: _Number | None = None


class _Quality(_Interval):
    metric: str | None = None
    n: Annotated[int, Field(ge=0)] | None = None
    split: str | None = None


class _Latency(_Loose):
    p50: _Count | None = None
    p95: _Count | None = None
    p99: _Count | None = None


class _Throughput(_Loose):
    items_per_s: _Count | None = None


class _Calibration(_Loose):
    ece: _Count | None = None


class _Architecture(_Loose):
    layers: _Count | None = None
    hidden: _Count | None = None
    heads: _Count | None = None


class _Class(_Loose):
    f1: _Number | None = None
    support: _Count | None = None


class _Parity(_Loose):
    agreement: _Count | None = None
    int8_ops: _Count | None = None
    float_matmuls: _Count | None = None
    reverted: list[Any] | None = None


class _Measurement(_Loose):
    id: Annotated[str, Field(min_length=1)]
    name: Annotated[str, Field(min_length=1)]
    engine: Annotated[str, Field(min_length=1)]
    steps: list[dict[str, Any]] = []
    architecture: _Architecture | None = None
    params: _Count | None = None
    flops_per_item: _Count | None = None
    bytes: _Count | None = None
    model_bytes: _Count | None = None
    quality: _Quality | None = None
    dev_quality: _Quality | None = None
    retention: _Interval | None = None
    agreement: _Count | None = None
    calibration: _Calibration | None = None
    per_class: dict[str, _Class] | None = None
    latency_ms: _Latency | None = None
    throughput: _Throughput | None = None
    peak_rss_bytes: _Count | None = None
    cold_start_s: _Count | None = None
    cpu_s_per_1000: _Count | None = None
    train_seconds: _Count | None = None
    threads: _Count | None = None
    parity: _Parity | None = None
    notes: list[str] = []


class _Short(_Loose):
    value: _Number | None
    limit: _Number | None


class _Choice(_Loose):
    id: str | None = None
    meets: bool
    why: str
    shortfall: dict[str, _Short] | None = None


class _Data(_Loose):
    source: str | None = None
    labels: list[Any] | None = None
    rows: dict[str, _Count | None] | None = None
    notes: list[str] | None = None


class _Environment(_Loose):
    cpu: str | None = None
    flags: list[str] | None = None
    cores: _Count | None = None
    logical_cores: _Count | None = None
    threads: _Count | None = None
    memory_bytes: _Count | None = None
    load: _Count | None = None
    versions: dict[str, Any] | None = None


class _Failure(_Loose):
    error: str


class _Difference(_Loose):
    text: str
    gold: str
    teacher: str
    student: str


class _Document(_Loose):
    task: str | None = None
    data: _Data | None = None
    environment: _Environment | None = None
    baseline: str | None = None
    measurements: list[_Measurement]
    failures: list[_Failure] = []
    choice: _Choice | None = None
    pareto: list[str] = []
    disagreements: dict[str, list[_Difference]] = {}


def check(path: Path, document: Mapping[str, Any]) -> None:
    """Nothing, when ``document`` has the shape of schema 1.

    Raises:
        UserError: a field is missing or of the wrong kind; the message names its place in ``path``.
    """
    try:
        _Document.model_validate(document)
    except ValidationError as error:
        raise _mistake(path, error) from None


def _mistake(path: Path, error: ValidationError) -> UserError:
    """The first finding of the check, as one message that names the place."""
    first = error.errors()[0]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    if first["type"] == "missing":
        return UserError(
            "field missing",
            where=f"{path}, {place}",
            fix="measure again with imbik measure or imbik compress",
        )
    return UserError(
        "a field is wrong",
        where=f"{path}, {place}",
        found=repr(first["input"])[:80],
        expected="a JSON object" if first["type"] == "model_type" else first["msg"],
        fix="measure again; the file is not meant to be edited by hand",
    )
