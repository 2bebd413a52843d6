"""What a user would try first, made beside the candidates and measured with them: tf-idf with a linear support vector machine."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imbik.compress.options import Run
from imbik.export.linear import ENGINE, write_linear
from imbik.jobs.files import read_json, refuse_foreign, remove_folder, write_json
from imbik.jobs.fingerprints import key_of
from imbik.linear.support import CHARACTERS, WORDS, tfidf_svm
from imbik.locale.notes import sentence
from imbik.measure.process import Candidate
from imbik.runtime.manifest import MANIFEST_FILE, artefact_files
from imbik.runtime.ngrams import Cut
from imbik.tasks.registry import task_of
from imbik.types import Note

logger = logging.getLogger(__name__)

FOLDER = "rivals"
TFIDF = {"tfidf-words": WORDS, "tfidf-characters": CHARACTERS}
"""Rivals over n-grams by name, with how their texts may be cut."""

_MADE = "rivals.json"


@dataclass(frozen=True)
class Rivals:
    """What is measured beside the candidates.

    Attributes:
        candidates: the rivals.
        notes: why there are fewer than there might be.
    """

    candidates: tuple[Candidate, ...] = ()
    notes: tuple[Note, ...] = ()


def check_rivals(directory: Path) -> None:
    """Check that no rival's folder holds files of the user's.

    Raises:
        UserError: naming them.
    """
    for name in TFIDF:
        folder = directory / FOLDER / name
        if artefact_files(folder) is None:
            refuse_foreign(folder, None)


def make_rivals(run: Run) -> Rivals:
    """Make every rival of the run's data, or find it made. One that fails is a note, and the others go on.

    Returns:
        The rivals; none for pairs of texts, of which n-grams say nothing, and for tasks with more than one answer a text.
    """
    splits = run.splits
    if splits.train.pairs is not None:
        return _none(Note.of("rivals_pairs"), run)
    if not task_of(splits.task).one_row:
        return _none(Note.of("rivals_task", task=splits.task), run)
    candidates, notes = [], []
    for name, cuts in TFIDF.items():
        try:
            candidates.append(_made(name, cuts, run))
        except OSError:
            raise  # a disk that no candidate could be measured on either
        except Exception as error:
            logger.debug("rival %s failed", name, exc_info=True)
            notes.append(Note.of("rivals_failed", name=name, error=str(error) or type(error).__name__))
            run.say(sentence(notes[-1]))
    return Rivals(tuple(candidates), tuple(notes))


def _none(note: Note, run: Run) -> Rivals:
    run.say(sentence(note))
    return Rivals(notes=(note,))


def _made(name: str, cuts: Sequence[Cut], run: Run) -> Candidate:
    """Return a rival over n-grams, trained where an earlier call has not made the same."""
    folder, record = run.directory / FOLDER / name, run.work / _MADE
    splits = run.splits
    key = key_of({"data": splits.fingerprint, "metric": splits.metric, "cuts": [[cut.words, cut.characters] for cut in cuts]})
    known = read_json(record)
    entry = known.get(name, {})
    if entry.get("key") != key or not (folder / MANIFEST_FILE).is_file():
        run.say(f"rival {name}")
        began = time.monotonic()
        model = tfidf_svm(splits, cuts)
        entry = {"key": key, "seconds": time.monotonic() - began, "step": {"tfidf": dict(model.settings)}}
        if folder.exists():
            remove_folder(folder, artefact_files(folder))
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_linear(model, folder, splits, (entry["step"],))
        write_json(record, known | {name: entry})
    return Candidate(f"{name}/{ENGINE}", name, ENGINE, folder, (entry["step"],), entry["seconds"], rival=True)
