"""Several processes that compute together: one leads and runs the program, the others do what it asks of them.

Started by ``accelerate launch`` or ``torchrun``, every process enters :func:`led`. The first one goes on with the program; the others
stay inside and compute gradients and predictions for it until it has ended. So only one process reads data, writes, measures and
speaks, whatever the program does, and a training that is resumed may have another number of processes.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

_log = logging.getLogger(__name__)

_PATIENCE = timedelta(days=30)
"""How long helpers wait: the leader may measure for hours."""

_LAUNCHED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR")
_TEAM: ContextVar[Team | None] = ContextVar("team", default=None)


class Job(ABC):
    """What helpers are asked for: it is sent to each of them, so it must be picklable."""

    @abstractmethod
    def help(self, team: Team) -> None:
        """Do a helper's share."""


class Team:
    """The processes of one launch.

    Attributes:
        rank: number of this one; 0 leads.
        size: how many there are.
        together: whether the leader has not broken off.
        device: what this one computes on.
    """

    def __init__(self, rank: int, size: int, device: torch.device) -> None:
        self.rank, self.size, self.device = rank, size, device
        # tensors on a GPU are added up by its own means; everything else goes over the processors
        self._control = dist.new_group(backend="gloo", timeout=_PATIENCE)
        self.together = True

    def tell(self, thing: object) -> None:
        """Send something to the helpers (the leader)."""
        dist.broadcast_object_list([thing], src=0, group=self._control)

    def hear(self) -> Any:
        """Wait for what the leader tells (a helper)."""
        box: list[Any] = [None]
        dist.broadcast_object_list(box, src=0, group=self._control)
        return box[0]

    def gather(self, thing: object) -> list[Any]:
        """Return what each process gives, in the order of their numbers; to helpers an empty list."""
        boxes: list[Any] | None = [None] * self.size if self.rank == 0 else None
        dist.gather_object(thing, boxes, dst=0, group=self._control)
        return boxes or []

    def add_up(self, tensor: Tensor) -> Tensor:
        """Return the sum over all processes, in the tensor's own memory."""
        # a GPU adds up by its own library
        dist.all_reduce(tensor, group=self._control if tensor.device.type == "cpu" else None)
        return tensor

    def all_well(self, well: bool) -> bool:
        """Return whether all processes are."""
        return int(self.add_up(torch.tensor([int(not well)]))) == 0

    def help_out(self) -> None:
        """Do what the leader asks until it says that this is over, or is gone (a helper)."""
        try:
            while (job := self.hear()) is not None:
                job.help(self)
        except RuntimeError:  # what gloo raises where the other end is closed
            _log.debug("the leader is gone", exc_info=True)

    def break_off(self) -> None:
        """Go on alone (the leader): helpers that wait for an exchange learn that it will not come."""
        self.together = False
        dist.destroy_process_group()


def team() -> Team | None:
    """Return the helpers of this process; None where it has none."""
    found = _TEAM.get()
    return found if found is not None and found.together else None


def launched() -> bool:
    """Return whether this process is one of several that were started together."""
    return all(name in os.environ for name in _LAUNCHED) and int(os.environ["WORLD_SIZE"]) > 1


@contextlib.contextmanager
def led() -> Iterator[bool]:
    """Lead the processes of this launch, or help the one that leads; gives whether the block is to run.

    A helper comes back with False when the leader has left its block. Without a launch of several it is simply True.

    >>> with led() as leading:
    ...     print(leading)
    True
    """
    if not launched():
        yield True
        return
    found = _joined()
    token = _TEAM.set(found if found.rank == 0 else None)
    try:
        if found.rank == 0:
            yield True
        else:
            found.help_out()
            yield False
    finally:
        _TEAM.reset(token)
        if found.together:
            if found.rank == 0:
                found.tell(None)
            dist.destroy_process_group()


def _joined() -> Team:
    from accelerate import PartialState

    state = PartialState(timeout=_PATIENCE)
    made = Team(dist.get_rank(), dist.get_world_size(), state.device)
    # processes that this one starts, such as those that measure, are none of the launch
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        os.environ.pop(name, None)
    return made


def packed(things: Mapping[str, object]) -> bytes:
    """Return things as bytes; what they share stays shared.

    Raises:
        Exception: of any kind, where something cannot be sent (code that a model's folder brings, an open file).
    """
    memory = io.BytesIO()
    torch.save(dict(things), memory)
    return memory.getvalue()


def unpacked(content: bytes, device: torch.device) -> dict[str, Any]:
    """Return what :func:`packed` packed, its tensors on a device. From a process of the same launch only: it may bring code."""
    things: dict[str, Any] = torch.load(io.BytesIO(content), map_location=device, weights_only=False)
    return things
