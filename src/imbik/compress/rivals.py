"""What a user would try first, made beside the candidates and measured with them: tf-idf with a linear support vector machine, and the
teacher's base as it is, with a linear head; of vectors, weighted means of word vectors and of tf-idf."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from imbik.compress.options import Run
from imbik.errors import UserError
from imbik.export.artefact import export
from imbik.export.linear import ENGINE, write_linear
from imbik.export.pixels import write_pixels
from imbik.finetune.frozen import fit_frozen_head
from imbik.jobs.files import read_json, refuse_foreign, remove_folder, write_json
from imbik.jobs.fingerprints import content, key_of
from imbik.linear.pixels import SIDE, linear_pixels
from imbik.linear.support import CHARACTERS, WORDS, tfidf_svm
from imbik.locale.notes import sentence
from imbik.measure.process import Candidate
from imbik.models.image_files import has_no_weights
from imbik.models.pretrained import load_base
from imbik.models.teacher import Teacher
from imbik.runtime.manifest import MANIFEST_FILE, artefact_files
from imbik.runtime.ngrams import Cut
from imbik.students.word_tables import latent_vectors, word_vectors
from imbik.tasks.outputs import IMAGES
from imbik.tasks.registry import task_of
from imbik.training.heads import head_of
from imbik.types import Checkpoint, Examples, Note, Step

logger = logging.getLogger(__name__)

FOLDER = "rivals"
TFIDF = {"tfidf-words": WORDS, "tfidf-characters": CHARACTERS}
"""Rivals over n-grams by name, with how their texts may be cut."""

FROZEN = "frozen-base"
"""The rival of the pretrained encoder that the teacher was made of, its weights as they are, under a linear head."""

TABLES: Mapping[str, Callable[[Teacher, Examples], Checkpoint]] = {"word-vectors": word_vectors, "tfidf-latent": latent_vectors}
"""Rivals whose texts are weighted means of a table of word pieces, of models that give vectors."""

PIXELS = "linear-pixels"
"""The rival of images: a linear model over small color images."""

_MADE = "rivals.json"
_FROZEN_ENGINE = "onnx"
_TABLE_ENGINE = "numpy"


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
    for name in (*TFIDF, FROZEN, PIXELS, *TABLES):
        folder = directory / FOLDER / name
        if artefact_files(folder) is None:
            refuse_foreign(folder, None)


def make_rivals(run: Run) -> Rivals:
    """Make every rival of the run's data, or find it made. One that fails is a note, and the others go on.

    Returns:
        The rivals; none for tasks with more than one answer a text, none over n-grams for pairs of texts, of which n-grams say nothing,
        and none of a base that the teacher's config does not name.
    """
    makers, notes = _makers(run)
    candidates = []
    for name, make in makers.items():
        try:
            candidates.append(make())
        except OSError:
            raise  # a disk that no candidate could be measured on either
        except Exception as error:
            logger.debug("rival %s failed", name, exc_info=True)
            notes.append(Note.of("rivals_failed", name=name, error=str(error) or type(error).__name__))
            run.say(sentence(notes[-1]))
    return Rivals(tuple(candidates), tuple(notes))


def _makers(run: Run) -> tuple[dict[str, Callable[[], Candidate]], list[Note]]:
    """Return what makes each rival of the run's task, and notes on those that it cannot have."""
    task, notes = task_of(run.splits.task), list[Note]()
    if task.apart:
        return {name: partial(_table, name, run) for name in TABLES}, notes
    if not task.one_row:
        return {}, [_said(Note.of("rivals_task", task=task.name), run)]
    makers: dict[str, Callable[[], Candidate]] = {}
    base = getattr(run.teacher.model.config, "imbik_base", None)
    if task.reads == IMAGES:
        makers[PIXELS] = partial(_pixels, run)
        notes.append(_said(Note.of("rivals_images"), run))
        if base is not None and not has_no_weights(str(base)):  # random weights as they are tell nothing apart
            makers[FROZEN] = partial(_frozen, str(base), run)
        return makers, notes
    if run.splits.train.pairs is None:
        makers = {name: partial(_made, name, cuts, run) for name, cuts in TFIDF.items()}
    else:
        notes.append(_said(Note.of("rivals_pairs"), run))
    if base is None:
        notes.append(_said(Note.of("rivals_no_base", name=FROZEN), run))
    else:
        makers[FROZEN] = partial(_frozen, str(base), run)
    return makers, notes


def _said(note: Note, run: Run) -> Note:
    run.say(sentence(note))
    return note


def _made(name: str, cuts: Sequence[Cut], run: Run) -> Candidate:
    """Return a rival over n-grams, trained where an earlier call has not made the same."""

    def make(folder: Path) -> Step:
        model = tfidf_svm(run.splits, cuts)
        step = {"tfidf": dict(model.settings)}
        write_linear(model, folder, run.splits, (step,))
        return step

    return _kept(name, ENGINE, {"cuts": [[cut.words, cut.characters] for cut in cuts]}, make, run)


def _pixels(run: Run) -> Candidate:
    """Return the rival of images: a logistic regression over their colors at a small size."""

    def make(folder: Path) -> Step:
        step, model = linear_pixels(run.splits)
        write_pixels(model, folder, run.splits, (step,))
        return step

    return _kept(PIXELS, _FROZEN_ENGINE, {"side": SIDE}, make, run)


def _frozen(base: str, run: Run) -> Candidate:
    """Return the rival of the base under a linear head, which takes a pass over at most 10,000 rows of train, and one over dev.

    Raises:
        UserError: the base cannot be opened, or its head is not linear.
    """

    def make(folder: Path) -> Step:
        splits = run.splits
        checkpoint = load_base(base, splits.task, splits.labels)
        if task_of(splits.task).reads != IMAGES:
            checkpoint.tokenizer.model_max_length = run.teacher.tokenizer.model_max_length
        head_of(splits.task).prepare(checkpoint.model, np.asarray(splits.train.targets))
        found = fit_frozen_head(checkpoint, splits)
        if found is None:
            raise UserError("the base has no linear head", where=base)
        step = {FROZEN: {"reads": found.reads, "c": found.cost, "rows": found.rows}}
        made = replace(checkpoint, model=checkpoint.model.eval(), pairs=splits.train.pairs is not None)
        export(made, _FROZEN_ENGINE, folder, texts=splits.dev, preset=run.options.preset, progress=run.progress)
        return step

    return _kept(FROZEN, _FROZEN_ENGINE, {"base": [base, content(base)]}, make, run)


def _table(name: str, run: Run) -> Candidate:
    """Return a rival over a table of word pieces."""

    def make(folder: Path) -> Step:
        made = TABLES[name](run.teacher, run.splits.train)
        export(made, _TABLE_ENGINE, folder, texts=run.splits.dev, preset=run.options.preset, progress=run.progress)
        return {name: {"pieces": int(made.model.config.vocab_size), "width": int(made.model.config.hidden_size)}}

    return _kept(name, _TABLE_ENGINE, {"teacher": run.teacher.fingerprint}, make, run)


def _kept(name: str, engine: str, depends: Mapping[str, Any], make: Callable[[Path], Step], run: Run) -> Candidate:
    """Return a rival, made where an earlier call has not made the same of the same data."""
    folder, record = run.directory / FOLDER / name, run.work / _MADE
    key = key_of({"data": run.splits.fingerprint, "metric": run.splits.metric, **depends})
    known = read_json(record)
    entry = known.get(name, {})
    if entry.get("key") != key or not (folder / MANIFEST_FILE).is_file():
        run.say(f"rival {name}")
        began = time.monotonic()
        if folder.exists():
            remove_folder(folder, artefact_files(folder))
        folder.parent.mkdir(parents=True, exist_ok=True)
        entry = {"key": key, "step": make(folder), "seconds": time.monotonic() - began}
        run.say(f"rival {name}: {entry['seconds']:.0f} s")
        write_json(record, known | {name: entry})
    return Candidate(f"{name}/{engine}", name, engine, folder, (entry["step"],), entry["seconds"], rival=True)
