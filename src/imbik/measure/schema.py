"""How results stand in ``results.json``: the one place where they are read and written.

Schema 2 adds ``parent`` to a measurement, ``reasons`` to the choice, and stores a note as ``{"kind", "values", "text"}``. Files of
schema 1 are brought into this shape before they are checked. Fields that are not known are let through, so that a file of a later imbik
with more in it still reads.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from imbik.errors import UserError
from imbik.jobs.reading import damage_told
from imbik.jobs.validated import Wording, bracketed, validated
from imbik.locale import notes
from imbik.measure.measurement import Measurement
from imbik.measure.values import Choice, Data, Disagreement, Environment, Failure, Limits, Results, Shortfall
from imbik.tasks.registry import DEFAULT
from imbik.types import Note

SCHEMA = 2
_NULL_WHEN_EMPTY = ("retention", "calibration", "per_class", "parity")  # the others stand as {} where nothing was measured
_WHERE_STATED = ("rival", "over_rival", "cascade", "selective")  # a run without them is written as before there were any
_QUANTIZED = re.compile(r"^(int8|int4|integer)")
_WITH_NULLS = (Choice, Limits, Shortfall)  # where null says something; elsewhere a missing field means the same

Json = dict[str, Any]


@dataclass(frozen=True)
class _Document:
    """A file of schema 2, its nulls left out."""

    measurements: tuple[Measurement, ...]
    task: str = DEFAULT
    data: Data = Data()
    environment: Environment = Environment()
    baseline: str | None = None
    failures: tuple[Failure, ...] = ()
    choice: Choice | None = None
    pareto: tuple[str, ...] = ()
    disagreements: Mapping[str, tuple[Disagreement, ...]] | None = None


_WORDING = Wording(
    wrong="a field is wrong",
    fix="measure again; the file is not meant to be edited by hand",
    mapping="a JSON object",
    place=bracketed,
)


# ---- reading ---------------------------------------------------------------------------------------------------------------------


def parse_results(text: str, path: Path) -> Results:
    """Return the results that stand in ``text``.

    Raises:
        UserError: as :func:`imbik.measure.results.load_results`; ``path`` names the file.
    """
    document = _object(text, path)
    schema = _schema_of(document, path)
    if schema is None:  # a lone measurement
        document = {"measurements": [document]} | {key: document[key] for key in ("environment",) if key in document}
    file = validated(_Document, _prepared(document), path, _WORDING)
    results = Results(
        task=file.task,
        data=file.data,
        environment=file.environment,
        baseline=file.baseline,
        measurements=file.measurements if schema == 2 else _with_parents(file.measurements),
        failures=file.failures,
        choice=file.choice,
        pareto=file.pareto,
        disagreements=file.disagreements or {},
        path=path,
    )
    _check_ids(results)
    return results


def _object(text: str, path: Path) -> Json:
    """Return the JSON object in ``text``."""
    fix = "name the results.json of a run; where that one is damaged, imbik compress writes it anew"
    # numbers of 5,000 digits and brackets without end break the parser itself
    with damage_told("not valid JSON", path, fix=fix):
        try:
            document = json.loads(text)
        except json.JSONDecodeError as error:
            place = f"{path}, line {error.lineno}, column {error.colno}"
            raise UserError("not valid JSON", where=place, found=error.msg, fix=fix) from None
    if not isinstance(document, dict):
        kind = f"a JSON {type(document).__name__}"
        raise UserError("not a results file", where=path, found=kind, expected="a JSON object")
    return document


def _schema_of(document: Json, path: Path) -> int | None:
    """Return the schema of a document, 1 where it does not say; None for a measurement that stands alone."""
    match document:
        case {"schema": 1 | 2 as schema}:
            return int(schema)
        case {"measurements": _} if "schema" not in document:
            return 1
        case {"engine": _} if "measurements" not in document:
            return None
    fix = "use the imbik that wrote the file, or measure again with this one"
    found = repr(document["schema"]) if "schema" in document else "none"
    raise UserError("unknown schema", where=path, found=found, expected=f'"schema": {SCHEMA}', fix=fix)


def _prepared(document: Json) -> Json:
    """Return the document in the shape of schema 2, without nulls where a missing field means the same.

    What is of a wrong kind is left as it is, for the check to name.
    """
    known = _without_nulls(document)
    for key, value in known.items():
        match key, value:
            case "measurements", list():
                known[key] = [_prepared_measurement(item) for item in value]
            case "data", dict():
                known[key] = _prepared_data(value)
            case "environment", dict():
                known[key] = _without_nulls(value)
            case "choice", dict():
                known[key] = _prepared_choice(value)
            case "failures", list():
                known[key] = [_prepared_failure(item) for item in value]
    return known


def _without_nulls(known: Json) -> Json:
    return {key: value for key, value in known.items() if value is not None}


def _prepared_measurement(item: object) -> object:
    if not isinstance(item, dict):
        return item
    known = {key: _without_nulls(value) if isinstance(value, dict) else value for key, value in _without_nulls(item).items()}
    return known | ({"notes": _notes(known["notes"])} if "notes" in known else {})


def _prepared_data(data: Json) -> Json:
    """Return what was measured on with its rows, which an early version wrote beside one another, under ``rows``."""
    known = _without_nulls(data)
    beside = {name: known[name] for name in ("train", "dev", "test") if name in known}
    if "notes" in known:
        known["notes"] = _notes(known["notes"])
    return {"rows": beside, **known} if beside else known


def _prepared_choice(choice: Json) -> Json:
    """Return a choice whose uses are objects: early versions named the candidate alone."""
    known = {"id": None, **_without_nulls(choice)}
    for key, value in known.items():
        match key, value:
            case "single" | "batch", str():
                known[key] = {"id": value}
            case "reasons", list():
                known[key] = _notes(value)
    return known


def _prepared_failure(item: object) -> object:
    """Return a failure with the note that its error is, where it is one of ours."""
    match item:
        case {"note": {"kind": str(), "values": dict()} as known, **rest}:
            return {**rest, "note": asdict(notes.read(known))}
        case {"error": str() as error, **rest}:
            note = notes.read(error)
            return {**rest, "error": error} | ({} if note.kind == "text" else {"note": asdict(note)})
    return item


def _notes(items: object) -> object:
    """Return notes as values; English sentences are those of schema 1."""
    return [_note(item) for item in items] if isinstance(items, list) else items


def _note(item: object) -> object:
    match item:
        case str() as text:
            return asdict(notes.read(text))
        case {"kind": str() as kind, "values": dict() as values, **rest}:
            return asdict(notes.read({str(key): value for key, value in rest.items()} | {"kind": kind, "values": values}))
    return item


def _with_parents(measurements: Sequence[Measurement]) -> tuple[Measurement, ...]:
    """Return measurements of schema 1, which records no parents, with the parents that names and steps suggest.

    ``layers-1+int8`` comes from ``layers-1``, ``int8`` from the teacher; under other names, from the candidate with the same steps and
    shape but for quantization.
    """
    found = []
    for m in measurements:
        parent = None
        if m.quantized:
            steps = [step for step in m.steps if "quantize" not in step]
            name = "+".join(part for part in m.name.split("+") if not _QUANTIZED.match(part)) or "teacher"
            # by name first; a user's own name for the float recipe is found by steps and shape
            twins = [o.name for o in measurements if not o.quantized and (o.name == name or _same(o, steps, m))]
            parent = twins[0] if twins else None
        found.append(replace(m, parent=parent))
    return tuple(found)


def _same(other: Measurement, steps: list[Any], m: Measurement) -> bool:
    return list(other.steps) == steps and other.architecture == m.architecture


def _check_ids(results: Results) -> None:
    """Check that every id stands once, and that whoever names an id names one that was measured."""
    ids = [m.id for m in results.measurements]
    duplicates = sorted({i for i in ids if ids.count(i) > 1})
    if duplicates:
        raise UserError("duplicate id", where=f"{results.path}, measurements", found=", ".join(duplicates), expected="one row per id")
    named: dict[str, Iterable[str | None]] = {
        "baseline": [results.baseline],
        "pareto": results.pareto,
        "choice.id": [results.choice.id if results.choice else None],
    }
    for place, names in named.items():
        unknown = [name for name in names if name is not None and name not in ids]
        if unknown:
            raise UserError(
                "names a candidate that was not measured",
                where=f"{results.path}, {place}",
                found=", ".join(unknown),
                expected=f"one of {', '.join(ids) or '(nothing was measured)'}",
            )


# ---- writing ---------------------------------------------------------------------------------------------------------------------


def document_of(results: Results) -> Json:
    """Return ``results.json`` as JSON's own types, see :func:`imbik.measure.results.results_document`."""
    found = {entry.name: _plain(getattr(results, entry.name)) for entry in fields(results) if entry.name != "path"}
    return {"schema": SCHEMA, **found}


def _plain(value: object) -> Any:
    """Return ``value`` in JSON's own types."""
    if isinstance(value, Note):
        return notes.document(value)
    if isinstance(value, Measurement):
        stated = [entry.name for entry in fields(value) if entry.name not in _WHERE_STATED or getattr(value, entry.name)]
        return {name: _group(name, getattr(value, name)) for name in stated}
    if is_dataclass(value):
        known = {entry.name: getattr(value, entry.name) for entry in fields(value)}
        return {name: _plain(entry) for name, entry in known.items() if entry is not None or isinstance(value, _WITH_NULLS)}
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(entry) for entry in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        return _plain(value.tolist())
    # JSON has no NaN and no infinity; null is "not measured", which they amount to
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _group(name: str, value: object) -> Any:
    """Return a field of a measurement; a group without a figure is ``{}`` or ``null``, as readers of schema 1 know it."""
    if is_dataclass(value) and not value:
        return None if name in _NULL_WHEN_EMPTY else {}
    return None if name in _NULL_WHEN_EMPTY and not value else _plain(value)
