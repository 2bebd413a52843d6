"""The students ``linear`` and ``linear-words``: n-grams with weights that learn from the teacher. They are no networks, so no recipe of
steps makes them."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from imbik.compress.candidate import Built, Failed, Made
from imbik.compress.options import Options, Run
from imbik.compress.ownership import CANDIDATE_FILE, begin_candidate, candidate_files
from imbik.compress.plan import LINEAR
from imbik.distillation.augmentation import Augmentation, augmented
from imbik.distillation.soft_labels import learning_rows
from imbik.errors import UserError
from imbik.export.linear import ENGINE, write_linear
from imbik.jobs.files import read_json, remove_folder, write_json
from imbik.jobs.fingerprints import key_of
from imbik.jobs.paths import with_home
from imbik.jobs.validated import read_yaml
from imbik.linear.students import COST, SHARES, Lesson, linear_student
from imbik.linear.support import WORDS, smaller
from imbik.recipes.recipe import Recipe
from imbik.runtime.manifest import MANIFEST_FILE
from imbik.runtime.ngrams import Cut
from imbik.tasks.outputs import TEXTS
from imbik.tasks.registry import task_of
from imbik.types import Checkpoint, Splits, Step

logger = logging.getLogger(__name__)

STEP = "linear"
"""What made both of them."""

CUTS = {"linear": (*WORDS[:2], Cut(2, (2, 4))), "linear-words": WORDS[:1]}
"""How the texts of each may be cut, simplest first: words, pairs of words, with characters, as dev decides; or words alone, which are
looked up several times as fast, whatever dev says."""

_COPIES, _MOST_MADE = 2, 20_000


def asked_for(options: Options, teacher: Checkpoint) -> tuple[str, ...]:
    """Return which are to be made: those named, or all where no recipe is named, rivals are measured and texts have labels."""
    task = task_of(teacher.task)
    if not options.recipes:
        return LINEAR if options.rivals and not task.apart and task.reads == TEXTS else ()
    return tuple(name for name in LINEAR if name in options.recipes)


def check_linear(splits: Splits, name: str) -> None:
    """Check that a linear student of this name can learn of data.

    Raises:
        UserError: what it reads or answers is nothing for n-grams.
    """
    targets = np.asarray(splits.train.targets)  # of texts without labels an array of no dimension
    if task_of(splits.task).reads != TEXTS:
        raise UserError("a linear student reads n-grams of texts", where=name, found=splits.task, fix="choose another recipe")
    if targets.ndim != 1 or targets.dtype.kind == "f" or splits.train.pairs is not None or not task_of(splits.task).one_row:
        found = "pairs of texts" if splits.train.pairs is not None else splits.task
        raise UserError("a linear student needs single texts with one label each", where=name, found=found, fix="choose another recipe")


def spelled(recipes: Sequence[str | Path | Recipe]) -> tuple[str | Path | Recipe, ...]:
    """Return recipes with the student's name in the place of files that hold it alone: ``student: linear``, ``steps: []``.

    It has no steps that a recipe could list; a search whose winner it is writes such a file.

    Raises:
        UserError: such a file with steps.
    """
    return tuple(_linear_name(recipe) or recipe for recipe in recipes)


def _linear_name(recipe: str | Path | Recipe) -> str | None:
    if isinstance(recipe, Recipe) or with_home(recipe).suffix not in (".yaml", ".yml"):
        return None
    document = read_yaml(with_home(recipe), "recipe file", fix="check the path, or list the names with: imbik recipes")
    if not isinstance(document, dict):
        return None
    given: dict[str, object] = {"student": None, "steps": [], **document}
    if given["student"] not in LINEAR:
        return None
    if given["steps"]:
        raise UserError("the linear student takes no steps", where=recipe, found=given["steps"], expected="steps: []")
    return str(given["student"])


class LinearStudents:
    """What makes the students: a method of its own, for there is no network that steps could be applied to.

    Args:
        names: of :data:`imbik.compress.plan.LINEAR`.
        behind: how many candidates are made before them, for the lines that count them.
    """

    def __init__(self, names: Sequence[str], behind: int = 0) -> None:
        self.names, self.behind = names, behind

    def make(self, made: Made, run: Run) -> Made:
        """Return what was made with the linear students in front: the cheapest come first. What fails is among the failures."""
        built: list[Built] = []
        failures: list[Failed] = []
        for number, name in enumerate(self.names, self.behind + 1):
            run.say(f"[{number}/{self.behind + len(self.names)}] {name}")
            if any(_words_alone(one) for one in built):
                run.say(f"{name} would be the same: {built[0].name} reads words alone on this data")
                continue
            try:
                built.append(_made(name, made.teacher_key, run))
                run.front.add(name, built[-1].artefacts)
            except OSError:
                raise  # a disk that no candidate could be measured on either
            except Exception as error:
                logger.debug("the student %s failed", name, exc_info=True)
                run.say(f"{name} failed: {error}")
                failures.append(Failed(name, str(error) or type(error).__name__, type(error).__name__))
                if isinstance(error, UserError):
                    break  # data that n-grams cannot answer: the next would be refused alike
        # the fastest of them first
        return replace(made, built=(*reversed(built), *made.built), failures=(*failures, *made.failures))


def _words_alone(built: Built) -> bool:
    settings = built.steps[-1][STEP]
    return bool(settings["words"] == 1 and settings["characters"] == "none")


def _made(name: str, teacher_key: str, run: Run) -> Built:
    """Make a student, or find it made.

    Raises:
        UserError: a task that n-grams cannot answer.
    """
    folder = run.directory / name
    learned = {"cuts": [[cut.words, cut.characters] for cut in CUTS[name]], "machine": [COST, *SHARES]}
    key = key_of({"teacher": teacher_key, "student": name, **learned})
    record = read_json(folder / CANDIDATE_FILE)
    artefact = folder / "artefacts" / ENGINE
    if record.get("key") != key or not (artefact / MANIFEST_FILE).is_file():
        began = time.monotonic()
        step = _train(folder, artefact, key, run)
        steps = [dict(step) for step in (*run.teacher.steps, step)]
        record = {"key": key, "train_seconds": time.monotonic() - began, "steps": steps, "failures": {}}
        write_json(folder / CANDIDATE_FILE, record)
    return Built(name, key, {ENGINE: artefact}, tuple(record["steps"]), float(record["train_seconds"]), None, ())


def _train(folder: Path, artefact: Path, key: str, run: Run) -> Step:
    """Train the student, write its artefact, and return the step that made it."""
    splits = run.splits
    check_linear(splits, folder.name)
    model = smaller(linear_student(splits, _lesson(run), CUTS[folder.name]), splits)
    if folder.exists():
        remove_folder(folder, candidate_files(folder))
    begin_candidate(folder, key)
    artefact.parent.mkdir(parents=True, exist_ok=True)
    step = {STEP: dict(model.settings)}
    write_linear(model, artefact, splits, (*run.teacher.steps, step))
    return step


def _lesson(run: Run) -> Lesson:
    """Return train, the user's own further texts, and texts made of train, with what the teacher says of all of them."""
    rows = learning_rows(run.splits)
    copies = min(_COPIES, _MOST_MADE // max(len(run.splits.train.texts), 1))
    texts: list[str] = list(rows.texts)
    logits = [run.cache.logits(rows, run.progress).take(np.arange(len(texts)))]
    if copies:
        settings = Augmentation("none", copies=copies)
        made = augmented(run.splits.train, settings, run.teacher, run.work / "shared" / "augmented", run.progress)
        texts = list(chain(texts, made.texts))
        logits.append(run.cache.logits(made, run.progress).take(np.arange(len(made.texts))))
    return Lesson(texts, np.concatenate(logits), np.asarray(run.splits.train.targets, np.int64))
