"""A whole ``results.json`` as frozen values; :mod:`imbik.measure.schema` says how they stand in the file.

A measured field that is missing or ``null`` means *not measured here*; a field that is there must be right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Required

from pydantic import StrictBool
from typing_extensions import TypedDict

from imbik.machine import environment
from imbik.measure.measurement import Amount, Count, Measurement, Number
from imbik.tasks.outputs import IMAGES
from imbik.tasks.registry import DEFAULT, registered, task_of
from imbik.types import Note, Splits


@dataclass(frozen=True)
class Data:
    """What was learned and measured on.

    Attributes:
        rows: rows of each split; ``truncated``: how many of them are cut to ``max_length`` tokens.
        quality: ``published`` where quality comes from papers and not from these rows.
    """

    source: str | None = None
    fingerprint: str | None = None
    labels: tuple[str, ...] | None = None
    metric: str | None = None
    rows: Mapping[str, Count | None] = field(default_factory=dict)
    unlabelled: Count | None = None
    truncated: Mapping[str, Count] = field(default_factory=dict)
    max_length: Count | None = None
    notes: tuple[Note, ...] = ()
    quality: Literal["published"] | None = None

    @classmethod
    def of(cls, splits: Splits) -> Data:
        """Return what the splits tell of themselves."""
        return cls(
            source=splits.source,
            fingerprint=splits.fingerprint,
            labels=tuple(splits.labels),
            metric=splits.metric,
            rows={name: len(getattr(splits, name).texts) for name in ("train", "dev", "test")},
            notes=splits.notes,
        )


@dataclass(frozen=True)
class Environment:
    """The machine that was measured on, see :func:`imbik.machine.environment`; ``threads`` are those of every engine."""

    cpu: str | None = None
    flags: tuple[str, ...] = ()
    machine: str | None = None
    cores: Count | None = None
    logical_cores: Count | None = None
    threads: Count | None = None
    memory_bytes: Count | None = None
    os: str | None = None
    load: Amount | None = None
    gpu: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def here(cls, threads: int) -> Environment:
        """Return this machine with engines of ``threads`` threads."""
        known = environment(threads)
        return cls(**known | {"flags": tuple(known["flags"])})


@dataclass(frozen=True)
class Limits:
    """What the user asks of a candidate.

    Attributes:
        min_retention: share of the teacher's dev quality.
        max_latency_ms: p95 of a single request.
        max_mb: million bytes shipped.
    """

    min_retention: Number = 0.97
    max_latency_ms: Number | None = None
    max_mb: Number | None = None


@dataclass(frozen=True)
class Shortfall:
    """A limit that is not kept: ``by`` is the relative distance to it, 1 where ``value`` is None (not measured)."""

    limit: Number | None
    value: Number | None
    by: Number | None = None


@dataclass(frozen=True)
class Use:
    """The best candidate for one use: ``p50_ms`` of single requests, or ``items_per_s`` in batches."""

    id: str
    p50_ms: Amount | None = None
    items_per_s: Amount | None = None


@dataclass(frozen=True)
class Uses:
    """The best engine of one recipe for single requests and for batches."""

    single: Use
    batch: Use


@dataclass(frozen=True)
class Choice:
    """The candidate to ship under the limits.

    Attributes:
        id: None where nothing was measured.
        meets: whether it keeps every limit.
        why: the reasons in English, for a reader of the file.
        reasons: the same as notes, for a reader in any language; empty in results of schema 1.
        shortfall: by limit (``retention``, ``latency_p95_ms``, ``megabytes``), those that it does not keep.
        single, batch: the best for single requests (which is ``id``) and for batches.
        engines: recipe -> its best engines, of recipes that were measured on several.
    """

    id: str | None
    meets: StrictBool
    why: str
    reasons: tuple[Note, ...] = ()
    limits: Limits | None = None
    shortfall: Mapping[str, Shortfall] = field(default_factory=dict)
    single: Use | None = None
    batch: Use | None = None
    engines: Mapping[str, Uses] = field(default_factory=dict)


class Failure(TypedDict, total=False):
    """A recipe, an engine or a candidate that failed.

    ``skipped``: it was never begun; ``note`` says ``error`` in any language; ``precision``: of a shape that was compared.
    """

    name: str
    id: str
    error: Required[str]
    kind: str
    skipped: bool
    precision: str
    note: Note


Failure.__pydantic_config__ = {"extra": "allow"}  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Disagreement:
    """A text on which teacher and student answer differently."""

    text: str
    gold: str
    teacher: str
    student: str
    index: int | None = None


@dataclass(frozen=True)
class Results:
    """A whole ``results.json``.

    Attributes:
        task: ``classification``, ``multi-label``, ``regression``, ...
        baseline: id of the measurement that the others are compared with; None for results of ``imbik measure`` alone.
        measurements: one per recipe and engine, the baseline among them.
        choice: what :func:`imbik.advise.choice.choose` returned, or None.
        pareto: ids that :func:`imbik.advise.choice.pareto` returned.
        disagreements: candidate id -> texts on which they differ, from :func:`imbik.measure.results.disagreements`.
        path: the file it was read from; not written.
    """

    task: str = DEFAULT
    data: Data = Data()
    environment: Environment = Environment()
    baseline: str | None = None
    measurements: tuple[Measurement, ...] = ()
    failures: tuple[Failure, ...] = ()
    choice: Choice | None = None
    pareto: tuple[str, ...] = ()
    disagreements: Mapping[str, tuple[Disagreement, ...]] = field(default_factory=dict)
    path: Path | None = None

    @property
    def name(self) -> str:
        """Folder and file that it was read from, or the source of its data; what tells one run from another."""
        if self.path is None:
            return self.data.source or ""
        return f"{self.path.resolve().parent.name}/{self.path.name}"

    @property
    def of_images(self) -> bool:
        """Whether the rows are images; a task that is not registered here is taken for one of texts."""
        return self.task in registered() and task_of(self.task).reads == IMAGES

    def get(self, identifier: str | None) -> Measurement | None:
        """Return the measurement with this id, or None."""
        return next((m for m in self.measurements if m.id == identifier), None)


def names_of(runs: Sequence[Results]) -> list[str]:
    """Return a name for each run: folder and file, with as many folders above as tell runs apart whose folders have one name.

    >>> names_of([Results(path=Path("/bank/run/results.json")), Results(path=Path("/shop/run/results.json"))])
    ['bank/run/results.json', 'shop/run/results.json']
    """
    names = [run.name for run in runs]
    for number, run in enumerate(runs):
        alike = [other.path.resolve() for other in runs if other.path is not None and other.name == run.name]
        if run.path is None or len(set(alike)) == 1:
            continue
        own, shown = run.path.resolve(), 3
        while shown < len(own.parts) and len({path.parts[-shown:] for path in alike}) < len(set(alike)):
            shown += 1
        names[number] = Path(*own.parts[-shown:]).as_posix()
    return names
