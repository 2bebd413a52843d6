"""Where training stands, in memory and on disk."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from imbik.jobs.files import replacing
from imbik.jobs.reading import damage_told
from imbik.jobs.validated import validated


@dataclass
class State:
    """Where training stands; everything else follows from it and the seed."""

    epoch: int = 0
    step: int = 0
    steps_done: int = 0
    best_score: float = -math.inf
    best_epoch: int = -1
    history: list[dict[str, float]] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0
    finished: bool = False
    threads: int = 0
    """It was trained with; 0: not yet. The sums of another number differ in their last digits."""

    @property
    def waited(self) -> int:
        """Epochs since the best one; 0 while the score has not moved yet (multi-label F1 starts at 0), which says nothing.

        The start does not count: a rate that warms up first leads away from a good one, and comes back above it epochs later.
        """
        scores = [epoch["dev"] if math.isfinite(epoch["dev"]) else -math.inf for epoch in self.history]
        best = max(scores)
        return self.epoch - 1 - scores.index(best) if best > scores[0] else 0

    def elect_start(self, score: float) -> bool:
        """Take the weights as they are for the best so far; an epoch that equals them replaces them.

        Returns:
            Whether the score says anything.
        """
        if math.isfinite(score):
            # one float lower: an epoch with the same score is preferred, having learned something
            self.best_score = math.nextafter(score, -math.inf)
        return math.isfinite(score)

    def add_step(self, seconds: float, tokens: int) -> None:
        """Count one step."""
        self.seconds += seconds
        self.tokens += tokens
        self.step += 1
        self.steps_done += 1

    def close_epoch(self, score: float) -> bool:
        """Record the dev score of the epoch.

        Returns:
            Whether it is the best so far.
        """
        self.history.append({"epoch": self.epoch + 1, "dev": score, "seconds": round(self.seconds, 3)})
        if score <= self.best_score:
            return False
        self.best_score = score
        self.best_epoch = self.epoch
        return True

    def open_epoch(self) -> None:
        """Go on to the next epoch."""
        self.epoch += 1
        self.step = 0


class TrainingState:
    """A training's state on disk.

    One file holds weights, optimizer moments and the position, so that a kill never splits them; another holds the weights of the
    best epoch.

    Args:
        directory: holds the files.
        tensors: what training changes, by name: parameters and buffers.
        optimizer: its moments are kept too.
        every: seconds between two files.
    """

    def __init__(self, directory: Path, tensors: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, every: float) -> None:
        self.directory = directory
        self.tensors = tensors
        self.optimizer = optimizer
        self.every = every
        self.saved = time.monotonic()
        self.path = directory / "state.safetensors"

    def restore(self) -> State:
        """Return the state of an earlier run in this directory, its weights and moments loaded; else a fresh one."""
        if not self.path.is_file():
            return State()
        with self._told():
            with safe_open(self.path, framework="pt") as file:
                state = validated(State, json.loads(file.metadata()["state"]), self.path)
                kept = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  not a mapping
            self._put(kept)
        return state

    def _told(self) -> AbstractContextManager[None]:
        """Return a context in which a damaged file is told."""
        fix = "delete its folder; the training begins anew then"
        # RuntimeError: what PyTorch raises where a tensor has another shape
        return damage_told("the state of a training cannot be read", self.path, fix=fix, faults=(SafetensorError, RuntimeError))

    def _put(self, kept: Mapping[str, Tensor]) -> None:
        """Put weights and moments back."""
        with torch.no_grad():
            for name, tensor in self.tensors.items():
                tensor.copy_(kept[name])
                if f"{name}#exp_avg" in kept:
                    self.optimizer.state[tensor] = {
                        # AdamW's bias correction depends on the step: without it a resumed run
                        # would begin with leaps
                        "step": kept[f"{name}#step"],
                        "exp_avg": _laid_out_as(tensor, kept[f"{name}#exp_avg"]),
                        "exp_avg_sq": _laid_out_as(tensor, kept[f"{name}#exp_avg_sq"]),
                    }

    def maybe_save(self, state: State) -> None:
        """Write the state where the last file is old enough."""
        if time.monotonic() - self.saved >= self.every:
            self.save(state)

    def save(self, state: State) -> None:
        """Write weights, moments and position."""
        written = self._weights()
        for name, tensor in self.tensors.items():
            for key, value in self.optimizer.state.get(tensor, {}).items():
                written[f"{name}#{key}"] = value.detach().cpu().contiguous()
        _write(written, self.path, {"state": json.dumps(state.__dict__)})
        self.saved = time.monotonic()

    def save_best(self, state: State) -> None:
        """Write the weights as those of the best epoch."""
        _write(self._weights(), self._best(state.best_epoch))

    def load_best(self, state: State) -> None:
        """Put the best epoch's weights back."""
        with self._told():
            best = load_file(self._best(state.best_epoch))
            with torch.no_grad():
                for name, tensor in self.tensors.items():
                    tensor.copy_(best[name])

    def _best(self, epoch: int) -> Path:
        return self.directory / f"best-{epoch}.safetensors"

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in self.tensors.items()}


def _laid_out_as(parameter: Tensor, values: Tensor) -> Tensor:
    """Return ``values`` in the memory order of ``parameter``: fused AdamW walks both as they lie in memory."""
    return torch.empty_like(parameter, memory_format=torch.preserve_format).copy_(values)


def _write(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)
