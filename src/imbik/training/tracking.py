"""Training told to a tracker of experiments: TensorBoard, MLflow, Weights & Biases or Trackio, through accelerate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imbik.errors import MissingExtra, UserError

if TYPE_CHECKING:
    from accelerate import Accelerator
    from accelerate.tracking import GeneralTracker

TRACKERS = ("tensorboard", "mlflow", "wandb", "trackio")
FOLDER = "tracking"
"""In an output folder, for trackers that write files."""

_PROJECT = "imbik"
_ONE_COUNT = ("wandb", "trackio")
"""Trackers whose steps rise over the whole run: several trainings in one run state their steps as a value."""


@dataclass(frozen=True)
class Tracked:
    """Where figures go, and under which name."""

    accelerator: Accelerator
    one_count: bool
    name: str = ""

    def log(self, step: int, **figures: float) -> None:
        """Tell figures of one training at one of its steps."""
        values: dict[str, float] = {f"{self.name}/{name}" if self.name else name: value for name, value in figures.items()}
        # a lower step than the last one would be dropped by them
        if self.one_count:
            self.accelerator.log(values | {f"{self.name}/step" if self.name else "step": step})
        else:
            self.accelerator.log(values, step=step)


_TRACKED: ContextVar[Tracked | None] = ContextVar("tracked", default=None)


def tracked() -> Tracked | None:
    """Return where figures go; None: nowhere."""
    return _TRACKED.get()


@contextmanager
def tracking(tracker: str | GeneralTracker | None, directory: Path, settings: Mapping[str, Any]) -> Iterator[None]:
    """Tell a tracker what the trainings in this block do.

    Args:
        tracker: one of :data:`TRACKERS`, or accelerate's interface to another one; None: nothing is told.
        directory: output folder; trackers that write files write to its sub-folder ``tracking``.
        settings: of the run, as plain values.

    Raises:
        UserError: an unknown tracker, or one that is not installed.
    """
    if tracker is None:
        yield
        return
    _check(tracker)
    from accelerate import Accelerator

    accelerator = Accelerator(log_with=tracker, project_dir=directory / FOLDER)
    # trackers take plain values
    shown = {name: value if isinstance(value, bool | int | float) else str(value) for name, value in settings.items() if value is not None}
    accelerator.init_trackers(_PROJECT, config=shown)
    token = _TRACKED.set(Tracked(accelerator, tracker in _ONE_COUNT))
    try:
        yield
    finally:
        _TRACKED.reset(token)
        accelerator.end_training()


def _check(tracker: str | GeneralTracker) -> None:
    from accelerate.tracking import get_available_trackers

    if not isinstance(tracker, str):
        return
    if tracker not in TRACKERS:
        raise UserError("unknown tracker", where="--track", found=tracker, expected=" or ".join(TRACKERS))
    # accelerate leaves one that is missing out and says nothing
    if tracker not in map(str, get_available_trackers()):
        raise MissingExtra(tracker)


@contextmanager
def named(name: str) -> Iterator[None]:
    """Tell the figures of the trainings in this block under a name: ``layers-3/distill``."""
    now = _TRACKED.get()
    if now is None:
        yield
        return
    token = _TRACKED.set(Tracked(now.accelerator, now.one_count, name))
    try:
        yield
    finally:
        _TRACKED.reset(token)
