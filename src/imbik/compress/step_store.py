"""Finished steps of recipes on disk, each under a key of all that it depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imbik.jobs.files import read_json
from imbik.models.checkpoint import save_whole
from imbik.models.pretrained import load_checkpoint
from imbik.types import Checkpoint


@dataclass(frozen=True)
class FinishedSteps:
    """How far an earlier run came with a recipe.

    Attributes:
        count: how many steps are finished.
        checkpoint: the model after them.
        seconds: what they took.
    """

    count: int
    checkpoint: Checkpoint
    seconds: float


@dataclass(frozen=True)
class StepStore:
    """Finished steps by key: recipes that begin alike share their beginning, and a killed run continues behind its last step.

    Attributes:
        folder: has one folder for each step.
    """

    folder: Path

    def latest(self, keys: Sequence[str]) -> FinishedSteps | None:
        """Return the last finished step of a recipe; None where none is.

        Args:
            keys: of the recipe after its first step, its second, and so on.
        """
        # from the end: the latest step contains all before it
        for count in range(len(keys), 0, -1):
            folder = self.folder / keys[count - 1]
            # save_whole puts the folder there at once, so this file stands for all of it; one that is damaged stands for nothing
            match read_json(folder / "step.json"):
                case {"seconds": int() | float() as seconds}:
                    return FinishedSteps(count, load_checkpoint(folder, role="student"), float(seconds))
        return None

    def keep(self, key: str, checkpoint: Checkpoint, seconds: float) -> None:
        """Write the model after a step."""
        save_whole(checkpoint, self.folder / key, step={"seconds": seconds})
