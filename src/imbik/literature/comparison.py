"""The file of ``imbik compare-architectures``: sizes and speeds of the published shapes, measured on one machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from imbik.errors import UserError
from imbik.jobs.reading import read_text
from imbik.measure.measurement import Latency
from imbik.measure.values import Environment, Failure


@dataclass(frozen=True)
class Published:
    """What a model's paper states; ``convention`` says which GLUE average (see ``published.yaml``)."""

    glue: float
    convention: str
    squad_f1: float
    speedup: float
    device: str
    source: str


@dataclass(frozen=True)
class ArchitectureRow:
    """One shape in one precision; ``speedup`` and ``throughput_gain`` are against the first row."""

    name: str
    shape: str
    precision: Literal["fp32", "int8"]
    engine: str
    params: int
    layers: int
    hidden: int
    heads: int
    bytes: int
    p50_ms: float
    items_per_s: float
    latency_ms: Latency
    peak_rss_bytes: int
    cold_start_s: float
    cpu_s_per_1000: float
    speedup: float
    throughput_gain: float
    p95_ms: float | None = None
    study_speedup: float | None = None
    published: Published | None = None


@dataclass(frozen=True)
class Texts:
    """Whose texts were measured on, and how many."""

    source: str
    rows: int


@dataclass(frozen=True)
class Architectures:
    """A whole comparison; ``failures`` are shapes that an engine refused."""

    rows: tuple[ArchitectureRow, ...]
    engine: str = "onnx"
    texts: Texts | None = None
    environment: Environment = field(default_factory=Environment)
    failures: tuple[Failure, ...] = ()
    schema: int = 1
    kind: str = "architectures"

    def document(self) -> Mapping[str, object]:
        """Return the comparison in JSON's own types."""
        return asdict(self)


_FILE = TypeAdapter(Architectures)


def load_architectures(path: str | Path) -> Architectures:
    """Read what ``imbik compare-architectures --json`` wrote.

    Raises:
        UserError: no such file, another kind of file, or a field is missing.
    """
    fix = "write it with imbik compare-architectures --json FILE"
    text = read_text(Path(path), "file", expected="a JSON file in UTF-8", fix=fix)
    try:
        return _FILE.validate_json(text.replace('"brief_speedup"', '"study_speedup"'))  # as imbik 0.1 wrote it
    except ValidationError as error:
        missing = sorted({str(one["loc"][-1]) for one in error.errors() if one["type"] == "missing" and one["loc"][0] == "rows"} - {"rows"})
        if not missing:
            expected = "what imbik compare-architectures --json wrote"
            raise UserError("not an architecture comparison", where=path, expected=expected) from None
        fix = "measure again with imbik compare-architectures"
        raise UserError("fields missing", where=path, found=", ".join(missing), fix=fix) from None
