"""What compress may replace in an output folder: what it made itself, by what is recorded there. All else of the user's stays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imbik.jobs.files import inside, read_json, refuse_foreign, refuse_foreign_file, write_json
from imbik.jobs.workspace import MODEL_FILES
from imbik.measure.predictions import is_predictions
from imbik.measure.results import is_results
from imbik.report.render import is_report
from imbik.runtime.manifest import artefact_files

CANDIDATE_FILE = "candidate.json"


def check_output(directory: Path, names: Sequence[str], engines: Sequence[str], teachers: Sequence[str]) -> None:
    """Check, before any work, that nothing that a run will write replaces a file that imbik did not make.

    Args:
        directory: the output folder; it may be missing.
        names: of the recipes, which are their folders.
        engines: what artefacts will be made for.
        teachers: folders of the teachers' artefacts.

    Raises:
        UserError: naming what stands in the way; or a recipe's name leads out of the folder.
    """
    refuse_foreign_file(directory / "results.json", is_results)
    refuse_foreign_file(directory / "report.html", is_report)
    refuse_foreign_file(directory / "teacher" / "predictions.npz", is_predictions)
    for teacher in teachers:
        for engine in engines:
            _check_artefact(directory / teacher / "artefacts" / engine)
    for name in names:
        folder = inside(directory, name, "the recipe's name")
        refuse_foreign(folder, candidate_files(folder))


def _check_artefact(folder: Path) -> None:
    if artefact_files(folder) is None:
        refuse_foreign(folder, None)


def candidate_files(folder: Path) -> set[str] | None:
    """Return the files of a candidate's folder that compress made, as paths in it; None for a folder that it did not make.

    ``candidate.json`` is written first, so a folder of a killed run is known too. A model's files are those of its names, an
    artefact's those that its manifest lists.
    """
    record = read_json(folder / CANDIDATE_FILE)
    if not {"key", "making"} & record.keys():
        return None
    made = {CANDIDATE_FILE, *(f"model/{name}" for name in MODEL_FILES)}
    artefacts = folder / "artefacts"
    for artefact in artefacts.iterdir() if artefacts.is_dir() else ():
        made |= {f"artefacts/{artefact.name}/{name}" for name in artefact_files(artefact) or ()}
    return made


def begin_candidate(folder: Path, key: str) -> None:
    """Record that a folder is made by compress, before anything else is written to it."""
    if not (folder / CANDIDATE_FILE).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / CANDIDATE_FILE, {"making": key})
