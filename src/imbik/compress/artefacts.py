"""Artefacts of one model for all engines that are asked for; what fails is returned, not thrown, as long as one engine succeeds."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imbik.compress.options import Run
from imbik.compress.plan import able_engines, refuse_without_engine
from imbik.export.artefact import export
from imbik.export.request import quantize_step
from imbik.jobs.files import read_json, remove_folder, write_json
from imbik.jobs.fingerprints import key_of
from imbik.models.teacher import Teacher
from imbik.runtime.manifest import MANIFEST_FILE, artefact_files
from imbik.types import Checkpoint

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exported:
    """What became of one model.

    Attributes:
        artefacts: engine -> its folder.
        failures: engine -> why it has no artefact.
    """

    artefacts: Mapping[str, Path]
    failures: Mapping[str, str]


def export_all(checkpoint: Checkpoint, engines: Sequence[str], folder: Path, run: Run) -> Exported:
    """Make the artefacts of one model; those that are there already stay.

    Args:
        checkpoint: the model.
        engines: which can build it.
        folder: gets ``artefacts/ENGINE``.
        run: gives texts, processor and limit.

    Raises:
        Exception: of the first engine, where all of them fail.
        OSError: a disk that no other engine can write to either.
    """
    artefacts: dict[str, Path] = {}
    errors: dict[str, Exception] = {}
    for engine in engines:
        target = folder / "artefacts" / engine
        try:
            if not (target / MANIFEST_FILE).is_file():
                _export(checkpoint, engine, target, run)
            artefacts[engine] = target
        # a full disk is not one engine's failure
        except OSError:
            raise
        except Exception as error:
            logger.info("%s for %s failed", folder.name, engine, exc_info=True)
            errors[engine] = error
    if not artefacts:
        raise next(iter(errors.values()))
    return Exported(artefacts, {engine: str(error) or type(error).__name__ for engine, error in errors.items()})


def export_teachers(teacher_key: str, run: Run) -> dict[str, Exported]:
    """Make every teacher's own artefacts; see :func:`_export_teacher`. What became of each, by its name."""
    return {name: _export_teacher(member, name, teacher_key, run) for name, member in run.teacher.members.items()}


def _export_teacher(teacher: Teacher, name: str, teacher_key: str, run: Run) -> Exported:
    """Make a teacher's own artefacts, weights unchanged: a candidate like any other.

    One that was made of another teacher, on other data or for another processor is made anew.

    Args:
        teacher: the teacher, alone.
        name: its folder.
        teacher_key: of all that answer, as they are, on this data.
        run: the call.

    Raises:
        UserError: no engine can build it.
    """
    note, folder = run.work / f"{name}-artefacts.json", run.directory / name
    quantized = quantize_step(teacher.steps) is not None
    # a float artefact is the same for every processor and every limit
    made_for = [run.options.preset, run.limits.min_retention] if quantized else None
    key = key_of({"recipe": teacher_key, "for": made_for})
    keys = read_json(note)
    engines, refusal = able_engines(run.options.engines, teacher.steps, str(teacher.model.config.model_type), teacher.task)
    refuse_without_engine(refusal)
    for engine in engines:
        artefact = folder / "artefacts" / engine
        if keys.get(engine) != key and artefact.exists():
            remove_folder(artefact, artefact_files(artefact))
    exported = export_all(teacher, engines, folder, run)
    write_json(note, keys | dict.fromkeys(exported.artefacts, key))
    return exported


def _export(checkpoint: Checkpoint, engine: str, target: Path, run: Run) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    export(
        checkpoint,
        engine,
        target,
        texts=run.splits.dev,
        calibration=run.splits.train,
        preset=run.options.preset,
        least=None,  # its quality is measured, and counts in the choice
        limit=run.accuracy_limit if quantize_step(checkpoint.steps) is not None else None,
        progress=run.progress,
    )
