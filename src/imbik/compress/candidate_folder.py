"""A candidate's folder: what is in it, whether that is all, and whether it is still right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imbik.compress.options import Run
from imbik.compress.ownership import CANDIDATE_FILE, candidate_files
from imbik.compress.plan import CandidatePlan
from imbik.jobs.files import inside, read_json, refuse_foreign, remove_folder, write_json
from imbik.runtime.manifest import MANIFEST_FILE, artefact_files
from imbik.types import Step


@dataclass(frozen=True)
class Record:
    """What is written beside a finished candidate.

    Attributes:
        key: of all that the model depends on.
        train_seconds: time that its training steps took, shared beginnings included.
        steps: all steps applied, the teacher's own included.
        failures: engine -> why it has no artefact although another one has.
    """

    key: str
    train_seconds: float
    steps: tuple[Step, ...]
    failures: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Missing:
    """There is no such candidate, or one of another model."""


@dataclass(frozen=True)
class Stale:
    """The model is there; some artefacts are not, or would be made otherwise today.

    Attributes:
        engines: whose artefacts are to be made.
        record: of the call that made the model.
    """

    engines: tuple[str, ...]
    record: Record


@dataclass(frozen=True)
class Complete:
    """Everything that was asked for is there.

    Attributes:
        record: of the call that made it.
    """

    record: Record


class CandidateFolder:
    """The folder of one candidate.

    Args:
        plan: what belongs into it.
        run: gives the place, and what today's call asks of artefacts.
    """

    def __init__(self, plan: CandidatePlan, run: Run) -> None:
        self.plan = plan
        self.path = inside(run.directory, plan.name, "the recipe's name")
        self.model = self.path / "model"
        self.preset = run.options.preset
        self.min_retention = run.limits.min_retention

    def artefact(self, engine: str) -> Path:
        """Return the folder of an engine's artefact."""
        return self.path / "artefacts" / engine

    def state(self) -> Missing | Stale | Complete:
        """Find out what is there."""
        record = self._read()
        if record is None or record.key != self.plan.key:
            return Missing()
        expected = [engine for engine in self.plan.engines if engine not in record.failures]
        stale = tuple(engine for engine in self.plan.asked if not self._is_right(engine))
        return Complete(record) if not set(expected) & set(stale) else Stale(stale, record)

    def refuse_foreign(self) -> None:
        """Refuse to write into a folder that holds files of the user's.

        Raises:
            UserError: naming them.
        """
        refuse_foreign(self.path, candidate_files(self.path))

    def clear(self, state: Missing | Stale) -> None:
        """Delete what is to be made anew: everything, or the artefacts that are no longer right.

        Raises:
            UserError: as :meth:`refuse_foreign`.
        """
        self.refuse_foreign()
        if isinstance(state, Missing):
            remove_folder(self.path, candidate_files(self.path))
        else:
            for artefact in map(self.artefact, state.engines):
                remove_folder(artefact, artefact_files(artefact))

    def finish(self, record: Record) -> None:
        """Write the record: from now on the candidate is finished."""
        failures = {f"{self.plan.name}/{engine}": why for engine, why in record.failures.items()}
        steps = [dict(step) for step in record.steps]
        written = {"key": record.key, "train_seconds": record.train_seconds, "steps": steps, "failures": failures}
        write_json(self.path / CANDIDATE_FILE, written)

    def _read(self) -> Record | None:
        written = read_json(self.path / CANDIDATE_FILE)
        match written:
            case {"key": str(key), "train_seconds": int() | float() as seconds, "steps": list(steps)}:
                found = written.get("failures")
                known = found if isinstance(found, dict) else {}
                failures = {name.rpartition("/")[2]: str(why) for name, why in known.items()}
                return Record(key, float(seconds), tuple(step for step in steps if isinstance(step, dict)), failures)
        return None  # none, one of a run that was killed, or a damaged one: it is made again

    def _is_right(self, engine: str) -> bool:
        """Return whether an artefact is there and today's call would make it the same."""
        manifest = read_json(self.artefact(engine) / MANIFEST_FILE)
        if not self.plan.quantized:
            return bool(manifest)
        return manifest.get("cpu") == self.preset and keeps_limit((manifest.get("parity") or {}).get("limit"), self.min_retention)


def keeps_limit(limit: Mapping[str, Any] | None, min_retention: float | None) -> bool:
    """Return whether an artefact that was made under ``limit`` would be made the same with ``min_retention``.

    >>> keeps_limit({"kept": 0.98, "before": 0.98, "min_retention": 0.97}, 0.5)  # nothing was put back to float
    True
    """
    if limit is None or min_retention is None:
        return limit is None and min_retention is None
    if limit["kept"] is None:  # no limit could be judged, whichever it was
        return True
    # nothing was put back to float, and no looser limit could leave more of it in integers
    untouched = limit["kept"] == limit["before"] >= min_retention
    return bool(untouched or limit["min_retention"] == min_retention)
