"""Where training stands, in memory and on disk."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from imbik.jobs.files import replacing


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


class Keeper:
    """State on disk: one file holds weights, optimizer moments and the position, so that a kill never splits them."""

    def __init__(
        self,
        directory: Path,
        names: list[str],
        parameters: list[nn.Parameter] | list[Tensor],
        optimizer: torch.optim.Optimizer,
        every: float,
    ) -> None:
        self.directory, self.names, self.parameters, self.optimizer = directory, names, parameters, optimizer
        self.every, self.saved = every, time.monotonic()
        self.path = directory / "state.safetensors"

    def restore(self) -> State:
        """The state of an earlier run in this directory, its weights and moments loaded; else a fresh one."""
        if not self.path.is_file():
            return State()
        with safe_open(self.path, framework="pt") as file:
            state = State(**json.loads(file.metadata()["state"]))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  not a mapping
        with torch.no_grad():
            for name, parameter in zip(self.names, self.parameters, strict=True):
                parameter.copy_(tensors[name])
                if f"{name}#exp_avg" in tensors:
                    self.optimizer.state[parameter] = {
                        "step": tensors[f"{name}#step"],
                        "exp_avg": _laid_out_as(parameter, tensors[f"{name}#exp_avg"]),
                        "exp_avg_sq": _laid_out_as(parameter, tensors[f"{name}#exp_avg_sq"]),
                    }
        return state

    def maybe_save(self, state: State) -> None:
        if time.monotonic() - self.saved >= self.every:
            self.save(state)

    def save(self, state: State) -> None:
        tensors = self._weights()
        for name, parameter in zip(self.names, self.parameters, strict=True):
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"{name}#{key}"] = value.detach().cpu().contiguous()
        _write(tensors, self.path, {"state": json.dumps(state.__dict__)})
        self.saved = time.monotonic()

    def save_best(self, state: State) -> None:
        _write(self._weights(), self._best(state.best_epoch))

    def load_best(self, state: State) -> None:
        """Put the best epoch's weights back; older ones are deleted."""
        best = load_file(self._best(state.best_epoch))
        with torch.no_grad():
            for name, parameter in zip(self.names, self.parameters, strict=True):
                parameter.copy_(best[name])

    def _best(self, epoch: int) -> Path:
        return self.directory / f"best-{epoch}.safetensors"

    def _weights(self) -> dict[str, Tensor]:
        return {n: p.detach().cpu().contiguous().clone() for n, p in zip(self.names, self.parameters, strict=True)}


def _laid_out_as(parameter: Tensor, values: Tensor) -> Tensor:
    """``values`` in the memory order of ``parameter``: fused AdamW walks both as they lie in memory."""
    return torch.empty_like(parameter, memory_format=torch.preserve_format).copy_(values)


def _write(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)
