"""All that a method may see while it is applied."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imbik.jobs.progress import Progress
from imbik.training.teacher_cache import TeacherCache
from imbik.types import Checkpoint, Splits


@dataclass(frozen=True)
class Context:
    """Handed to :meth:`Method.apply`.

    Attributes:
        teacher: the model to learn from; a method must not change it.
        splits: the task's data; a method may learn from ``train`` and ``unlabelled`` and look at ``dev``, never at ``test``.
        cache: the teacher's outputs by text.
        seed: everything random follows from it.
        progress: where long work is shown.
        directory: private to this step; what it holds survives a kill, and is removed when the step is finished.
        shared: of all steps and recipes of one output folder, for what is costly and found again by a key (a tokenized corpus).
        save_every: seconds between training states on disk.
    """

    teacher: Checkpoint
    splits: Splits
    cache: TeacherCache
    seed: int
    progress: Progress
    directory: Path
    shared: Path
    save_every: float = 30.0

    def loop(self, folder: str = "") -> dict[str, Any]:
        """What :func:`imbik.training.loop.fit` takes from here; ``folder`` parts the trainings of a step that has several."""
        return {"seed": self.seed, "directory": self.directory / folder, "progress": self.progress, "save_every": self.save_every}
