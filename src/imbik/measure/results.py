"""``results.json``, schema 1: read and checked with one clear message, written whole or not at all, and two
judgements on it: the Pareto front and the choice under the user's limits.

A measured field that is missing or ``null`` means *not measured here*; a field that is there must be right.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from imbik.errors import UserError
from imbik.measure.schema import SCHEMA, check
from imbik.tasks.registry import DEFAULT
from imbik.types import Measurement

__all__ = ["Results", "disagreements", "load_results", "results_document", "write_results"]


@dataclass(frozen=True)
class Results:
    """A whole ``results.json``.

    Attributes:
        task: ``classification``, ``multi-label``, ``regression``, ...
        data: what was learned and measured on (``source``, ``fingerprint``, ``labels``, split sizes,
            ``notes``).
        environment: CPU, cores, threads, versions.
        baseline: id of the measurement that the others are compared with; None for results of ``imbik
            measure`` alone.
        measurements: one per recipe and engine, the baseline among them.
        failures: recipes that failed: ``{"name", "error", ...}``.
        choice: what :func:`choose` returned, or None.
        pareto: ids that :func:`pareto` returned.
        disagreements: candidate id -> texts on which teacher and student differ, from :func:`disagreements`.
        path: the file it was read from; not written.
    """

    task: str
    data: Mapping[str, Any]
    environment: Mapping[str, Any]
    baseline: str | None
    measurements: tuple[Measurement, ...]
    failures: tuple[Mapping[str, Any], ...] = ()
    choice: Mapping[str, Any] | None = None
    pareto: tuple[str, ...] = ()
    disagreements: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    path: Path | None = None

    @property
    def name(self) -> str:
        """Folder and file that it was read from, or the source of its data; what tells one run from another."""
        if self.path is None:
            return str(self.data.get("source") or "")
        return f"{self.path.resolve().parent.name}/{self.path.name}"

    def get(self, identifier: str | None) -> Measurement | None:
        """The measurement with this id, or None."""
        return next((m for m in self.measurements if m.id == identifier), None)


def load_results(path: str | Path) -> Results:
    """Read and check a ``results.json``, or the JSON of a single measurement that ``imbik measure --json``
    wrote.

    Raises:
        UserError: no such file, not JSON, an unknown schema, a field of the wrong kind (named with its
            place), an id that stands twice, or a baseline, choice or front that names an id which was not
            measured.
    """
    path = Path(path)
    document = _read(path)
    check(path, document)
    measurements = tuple(_measurement(item) for item in document["measurements"])
    _check_ids(path, document, [m.id for m in measurements])
    return Results(
        task=document.get("task") or DEFAULT,
        data=document.get("data") or {},
        environment=document.get("environment") or {},
        baseline=document.get("baseline"),
        measurements=measurements,
        failures=tuple(document.get("failures") or ()),
        choice=document.get("choice"),
        pareto=tuple(document.get("pareto") or ()),
        disagreements=document.get("disagreements") or {},
        path=path,
    )


def _read(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``; a lone measurement is wrapped into a document."""
    text = _text(path)
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"{path}, line {error.lineno}, column {error.colno}"
        fix = "run imbik compress again; it writes the file anew"
        raise UserError("not valid JSON", where=place, found=error.msg, fix=fix) from None
    if not isinstance(document, dict):
        kind = f"a JSON {type(document).__name__}"
        raise UserError("not a results file", where=path, found=kind, expected="a JSON object")
    if "measurements" not in document and "engine" in document:
        document = {"schema": SCHEMA, "environment": document.get("environment"), "measurements": [document]}
    if document.get("schema", SCHEMA if "measurements" in document else None) != SCHEMA:
        raise UserError(
            "unknown schema",
            where=path,
            found=repr(document.get("schema")),
            expected=f'"schema": {SCHEMA}',
            fix="use the imbik that wrote the file, or measure again with this one",
        )
    return document


def _text(path: Path) -> str:
    """The file's text, which is not empty."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(
            "no such file",
            where=path,
            expected="a results.json that imbik compress or imbik measure wrote",
            fix="name the file inside the folder that was given to --out",
        ) from None
    except UnicodeDecodeError:
        raise UserError("not a text file", where=path, expected="JSON in UTF-8") from None
    if not text.strip():
        fix = "run imbik compress again; it continues"
        raise UserError("the file is empty", where=path, expected="a results.json", fix=fix)
    return text


def _check_ids(path: Path, document: Mapping[str, Any], ids: Sequence[str]) -> None:
    """Every id stands once, and whoever names an id names one that was measured."""
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if twice:
        raise UserError(
            "an id stands twice",
            where=f"{path}, measurements",
            found=", ".join(twice),
            expected="one row per id",
        )
    named = {
        "baseline": [document.get("baseline")],
        "pareto": document.get("pareto") or [],
        "choice.id": [(document.get("choice") or {}).get("id")],
    }
    for place, names in named.items():
        unknown = [n for n in names if n is not None and n not in ids]
        if unknown:
            raise UserError(
                "names a candidate that was not measured",
                where=f"{path}, {place}",
                found=", ".join(unknown),
                expected=f"one of {', '.join(ids) or '(nothing was measured)'}",
            )


def _measurement(item: Mapping[str, Any]) -> Measurement:
    """The dataclass for one checked JSON object; what is missing becomes an empty mapping or None."""
    mappings = ("architecture", "quality", "dev_quality", "latency_ms", "throughput")
    values: dict[str, Any] = {f.name: item.get(f.name) for f in fields(Measurement)}
    values |= {name: values[name] or {} for name in mappings}
    return Measurement(**values | {name: tuple(values[name] or ()) for name in ("steps", "notes")})


def results_document(results: Results) -> dict[str, Any]:
    """``results.json`` as JSON's own types. Numbers that are not finite become ``None``; NumPy scalars and
    arrays become numbers and lists.

    >>> results_document(Results("any", {}, {}, None, ()))["schema"]
    1
    """
    document = {"schema": SCHEMA, **{k: v for k, v in asdict(results).items() if k != "path"}}
    plain: dict[str, Any] = _plain(document)
    return plain


def write_results(path: str | Path, results: Results) -> None:
    """Write :func:`results_document`: to a temporary name beside the file, flushed to the disk, then renamed,
    so that a reader or a killed run never sees half a file.

    Raises:
        UserError: the folder of ``path`` does not exist, or ``path`` is a folder.
    """
    path = Path(path)
    if path.is_dir() or not path.parent.is_dir():
        found = "a folder" if path.is_dir() else f"no folder {path.parent}"
        raise UserError("cannot write the results", where=path, found=found, expected="a file's name in a folder that exists")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(results_document(results), stream, ensure_ascii=False, indent=1, allow_nan=False)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    """``value`` in JSON's own types."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def disagreements(
    texts: Sequence[str],
    gold: Sequence[int],
    teacher: Sequence[int],
    student: Sequence[int],
    labels: Sequence[str],
    limit: int = 20,
) -> list[dict[str, Any]]:
    """Up to ``limit`` items on which teacher and student answer differently, for
    ``Results.disagreements[id]``: those where the teacher is right first, then those where the student is,
    then those where both are wrong; as they come within each group.

    >>> disagreements(["a", "b"], [0, 1], [0, 1], [0, 0], ["no", "yes"])
    [{'index': 1, 'text': 'b', 'gold': 'yes', 'teacher': 'yes', 'student': 'no'}]
    """
    differ = [i for i in range(len(texts)) if int(teacher[i]) != int(student[i])]
    differ.sort(key=lambda i: (int(teacher[i]) != int(gold[i]), int(student[i]) != int(gold[i])))
    return [
        {
            "index": i,
            "text": str(texts[i]),
            "gold": labels[int(gold[i])],
            "teacher": labels[int(teacher[i])],
            "student": labels[int(student[i])],
        }
        for i in differ[:limit]
    ]
