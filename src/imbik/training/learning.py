"""One step of training, alone or with the rows of each batch divided among the processes of a team.

A loss that can be divided says what its means are over (:class:`Divisible`): a process computes the means of its own rows, and
weighs each by its share of what all processes have. The sum of their gradients is then the gradient of the whole batch, and every process
takes the same step.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imbik.data.batches import shuffled_batches
from imbik.jobs.seeds import mixed
from imbik.locale.notes import sentence
from imbik.training.encoding import Rows
from imbik.training.precision import full_precision, is_full, precision
from imbik.training.prediction import Batch, to_batch
from imbik.training.settings import Training
from imbik.training.team import Job, Team, packed, team, unpacked
from imbik.types import Note

_log = logging.getLogger(__name__)

Batches = Sequence[NDArray[np.int64]]
"""The rows of each batch of a step."""

_PARTS = 4
"""Means that a loss may consist of, at most."""


@runtime_checkable
class Divisible(Protocol):
    """A loss whose batches can be divided."""

    def parts(self, model: nn.Module, batch: Batch) -> list[tuple[Tensor, float]]:
        """Return means that add up to the loss, each with the number of things that it is the mean over (0: there are none here).

        Args:
            model: learns.
            batch: some rows; all rows of the batch that they are of stand in ``whole``. Of the same whole, the means come in the same
                order and number.
        """


@dataclass
class Learner:
    """A network, its loss, and how they learn.

    Attributes:
        model, loss: in place, on ``device``.
        optimizer: of ``parameters``.
        parameters: all that learns.
        data: the rows.
        settings: see :class:`imbik.training.settings.Training`.
        seed: of order and dropout.
        device: what is computed on.
    """

    model: nn.Module
    loss: nn.Module
    optimizer: torch.optim.Optimizer
    parameters: list[nn.Parameter]
    data: Rows
    settings: Training
    seed: int
    device: torch.device

    def begin(self, epoch: int) -> list[list[NDArray[np.int64]]]:
        """Get ready for an epoch, and return the batches of every step: their order follows from the seed and its number."""
        self.model.train()
        self.loss.train()
        batches = shuffled_batches(self.data.lengths, self.settings.batch_tokens, mixed(self.seed, epoch))
        each = self.settings.accumulate
        return [batches[i : i + each] for i in range(0, len(batches), each)]

    def finish(self, rate: float) -> None:
        """Take the step that the gradients say, at a learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


class Alone:
    """Steps of one process."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner

    def gradients(self, epoch: int, step: int, batches: Batches, _rate: float) -> float:
        """Compute the gradients of a step; gives the loss."""
        learner = self.learner
        # dropout of a step follows from its number: a resumed run drops what the killed one had dropped
        torch.manual_seed(mixed(learner.seed, epoch, step))
        value = 0.0
        for rows in batches:  # gradients of several batches add up to one step
            batch = to_batch(learner.data, rows, learner.device)  # (B, T)
            with precision(learner.device):
                part = learner.loss(learner.model, batch) / len(batches)
            part.backward()
            value += float(part.detach())
        return value

    def close(self) -> None:
        """Nothing is left to end."""


class Shared:
    """Steps whose batches are divided among the processes of a team.

    Args:
        learner: the same in every process.
        team: the processes.
    """

    def __init__(self, learner: Learner, team: Team) -> None:
        self.learner, self.team = learner, team
        self._midway = False

    def gradients(self, epoch: int, step: int, batches: Batches, rate: float) -> float:
        """Compute the gradients of a step together (the leader); gives the loss."""
        self.team.tell(_Step(epoch, step, rate))
        self._midway = True
        value = self.divided(epoch, step, batches)
        self._midway = False
        return value

    def divided(self, epoch: int, step: int, batches: Batches) -> float:
        """Compute this process's share, and add up what all have.

        Raises:
            Exception: what went wrong here; RuntimeError where it went wrong in another process.
        """
        learner, team = self.learner, self.team
        # each process drops other units; the first one those that it drops alone
        torch.manual_seed(mixed(learner.seed, epoch, step, *([team.rank] if team.rank else [])))
        value = 0.0
        trouble: BaseException | None = None
        for rows in batches:
            parts: list[tuple[Tensor, float]] = []
            try:
                # every N-th: rows of a batch are sorted, so all processes get like lengths
                own = rows[team.rank :: team.size]
                if len(own) and trouble is None:
                    with precision(learner.device):
                        batch = to_batch(learner.data, own, learner.device) | {"whole": torch.from_numpy(rows)}
                        parts = learner.loss.parts(learner.model, batch)
            except BaseException as error:  # an interruption too: the others wait in the next exchange
                trouble = error
            counts = team.add_up(torch.tensor([count for _, count in parts] + [0.0] * (_PARTS - len(parts)), dtype=torch.float64))
            try:
                shares = [mean * (count / float(all_)) for (mean, count), all_ in zip(parts, counts, strict=False) if count]
                if shares:
                    part = sum(shares[1:], shares[0]) / len(batches)
                    part.backward()
                    value += float(part.detach())
            except BaseException as error:
                trouble = error
        return self._added_up(value, trouble)

    def _added_up(self, value: float, trouble: BaseException | None) -> float:
        """Put the sum of all processes' gradients in the place of this one's; a parameter that nobody has one of keeps none."""
        parameters = self.learner.parameters
        flags = [float(trouble is not None), value, *(float(parameter.grad is not None) for parameter in parameters)]
        told = self.team.add_up(torch.tensor(flags, dtype=torch.float64))
        if told[0]:
            self._midway = False  # everybody knows
            raise trouble or RuntimeError("another process of the team failed")
        have = [parameter for parameter, flag in zip(parameters, told[2:], strict=True) if flag]
        # one exchange for all of them: each has a cost of its own
        flat = [(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in have]
        summed = self.team.add_up(torch.cat(flat)) if flat else torch.zeros(0)
        start = 0
        for parameter in have:
            parameter.grad = summed[start : start + parameter.numel()].view(parameter.shape)
            start += parameter.numel()
        return float(told[1])

    def close(self) -> None:
        """Send the helpers back (the leader); one that was interrupted within an exchange meets nobody any more."""
        if self._midway:
            self.team.break_off()
        else:
            self.team.tell(None)


@dataclass(frozen=True)
class _Step:
    """A step that all take: no :class:`imbik.training.team.Job`, it has a meaning within :class:`_Learn` alone."""

    epoch: int
    step: int
    rate: float


@dataclass(frozen=True)
class _Learn(Job):
    """A training: the learner as it is at the first step."""

    content: bytes

    def help(self, team: Team) -> None:
        """Take the steps of a training with the others."""
        try:
            learner, full = _received(self.content, team.device)
        except Exception:
            _log.debug("a training could not be received", exc_info=True)
            team.all_well(False)
            return
        if team.all_well(True):
            with full_precision() if full else contextlib.nullcontext():
                self._follow(learner, team)

    def _follow(self, learner: Learner, team: Team) -> None:
        """Take the steps that the leader names until it says that this is over."""
        shared, steps, epoch = Shared(learner, team), learner.begin(0), 0
        while (job := team.hear()) is not None:
            if not isinstance(job, _Step):  # predictions between the epochs
                job.help(team)
                continue
            # a training that goes on may begin in any epoch
            if job.epoch != epoch:
                steps, epoch = learner.begin(job.epoch), job.epoch
            try:
                value = shared.divided(job.epoch, job.step, steps[job.step])
            except Exception:  # the leader tells it
                _log.debug("a step failed", exc_info=True)
                learner.optimizer.zero_grad(set_to_none=True)
                continue
            if math.isfinite(value):  # else the leader ends the training
                learner.finish(job.rate)


def steps_of(learner: Learner, what: str) -> Alone | Shared:
    """Return how a training takes its steps: shared where there is a team and all of it can be sent and divided.

    Args:
        learner: ready for its first step.
        what: what progress calls it.
    """
    helpers = team()
    if helpers is None:
        return Alone(learner)
    why, content = _obstacle(learner), b""
    if why is None:
        try:
            content = _sent(learner)
        except Exception as error:  # pickling runs code of any model
            why = f"{type(error).__name__}: {error}"[:160]
    if why is None:
        helpers.tell(_Learn(content))
        if helpers.all_well(True):
            return Shared(learner, helpers)
        why = "it cannot be received"
    _log.warning(sentence(Note.of("trains_alone", what=what, processes=helpers.size, why=why)))
    return Alone(learner)


def _obstacle(learner: Learner) -> str | None:
    """Return why a training cannot be divided; None where it can."""
    if not isinstance(learner.loss, Divisible):
        return f"{type(learner.loss).__name__} is no mean over rows or tokens"
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in learner.model.modules()):
        return "its batch norms need whole batches"
    return None


def _sent(learner: Learner) -> bytes:
    fields: dict[str, Any] = {name: getattr(learner, name) for name in learner.__dataclass_fields__ if name != "device"}
    return packed(fields | {"threads": torch.get_num_threads(), "full": is_full()})


def _received(content: bytes, device: torch.device) -> tuple[Learner, bool]:
    """Return a learner, and whether it learns in float32."""
    fields = unpacked(content, device)
    torch.set_num_threads(fields.pop("threads"))
    full = fields.pop("full")
    return Learner(**fields, device=device), full
