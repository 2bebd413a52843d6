"""What a method may read while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imbik.jobs.progress import Progress
from imbik.models.checkpoint import save_whole
from imbik.models.pretrained import load_checkpoint
from imbik.models.teacher import Teacher
from imbik.training.settings import RunSettings
from imbik.training.teacher_cache import TeacherCache
from imbik.types import Checkpoint, Splits


@dataclass(frozen=True)
class Context:
    """What :meth:`imbik.methods.Method.apply` is given beside the checkpoint.

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

    teacher: Teacher
    splits: Splits
    cache: TeacherCache
    seed: int
    progress: Progress
    directory: Path
    shared: Path
    save_every: float = 30.0

    def training(self, folder: str = "") -> RunSettings:
        """Return how :func:`imbik.training.loop.fit` runs in this step.

        Args:
            folder: parts the trainings of a step that has several.
        """
        return RunSettings(self.seed, self.directory / folder, self.progress, self.save_every)

    def kept(self, kind: str, key: str, make: Callable[[], Checkpoint]) -> Checkpoint:
        """Return a model that several recipes use: found finished, or made now and kept for the others.

        Args:
            kind: what it is, in messages and as the name of a folder.
            key: of all that it depends on, see :func:`imbik.jobs.fingerprints.key_of`.
            make: makes it.
        """
        folder = self.shared / kind.lower() / key
        # save_whole moves a folder here when it is complete, so one file tells for all of them
        if not (folder / "config.json").is_file():
            save_whole(make(), folder)
        return load_checkpoint(folder, role=kind)
