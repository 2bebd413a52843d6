"""Distillation of any PyTorch network into another one.

Losses between what their modules give, read by forward hooks.
"""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imbik.distillation.teacher_states import LiveTeacher
from imbik.distillation.transfer import Modules, Pair, Transfer
from imbik.errors import UserError
from imbik.jobs.progress import Progress, Silent
from imbik.models.hooks import Tap, capture
from imbik.training.loop import fit
from imbik.training.settings import RunSettings, Training

_ENTRY = "(student's path, teacher's path): a loss module, or (weight, loss module)"

Losses = Mapping[tuple[str, str], nn.Module | tuple[float, nn.Module]]


@dataclass(frozen=True)
class Distilled:
    """Record of how training went.

    Attributes:
        epochs: passes over the loader.
        best_epoch: whose weights the student has, from 1: the best by ``evaluate``, the last
            without it.
        history: one entry per epoch: ``epoch``, ``dev`` (what ``evaluate`` gave), ``seconds``.
        seconds: spent in training steps.
    """

    epochs: int
    best_epoch: int
    history: list[dict[str, float]]
    seconds: float


def distill(
    teacher: nn.Module,
    student: nn.Module,
    loader: Iterable[Any],
    losses: Losses,
    *,
    epochs: int = 10,
    learning_rate: float = 1e-3,
    label_loss: Callable[[Tensor, Any], Tensor] | None = None,
    inputs: Callable[[Any], Any] | None = None,
    evaluate: Callable[[nn.Module], float] | None = None,
    weight_decay: float = 0.01,
    seed: int = 0,
    progress: Progress | None = None,
) -> Distilled:
    """Train ``student`` in place to give what ``teacher`` gives, at the modules that ``losses`` names.

    L = Σ weight · loss(student's module, teacher's module) (+ ``label_loss``). AdamW, linear warm-up and decay, the loop of
    :func:`imbik.training.loop.fit`; projections between different widths are learned and live on the losses.

    Args:
        teacher: any network; not changed.
        student: any network; on the CPU and in evaluation mode afterwards.
        loader: gives batches, as often as it is iterated, and has a length (a ``DataLoader``, a list).
        losses: ``{(student's path, teacher's path): loss}`` or ``…: (weight, loss)``. Paths are those of ``named_modules``; ``""`` is the
            network's own output. A loss is one of :mod:`imbik.distillation.feature_losses`, or any module called as
            ``loss(student, teacher, mask)``.
        epochs: passes over the loader.
        learning_rate: the highest.
        label_loss: ``label_loss(student's output, batch)``, added to the sum.
        inputs: what the networks take of a batch: a tensor, a tuple of positional or a mapping of keyword arguments. Default: a tensor
            itself, the first of a tuple or list, all of a mapping.
        evaluate: ``evaluate(student)``, higher is better; the weights of the best epoch remain.
        weight_decay: on matrices.
        seed: of dropout and of what the loader draws from torch.
        progress: where progress is shown.

    Raises:
        UserError: before training: paths that do not exist (with those that do), modules that do not run or give no tensor, shapes that
            cannot be matched, states that no gradient reaches, weights that both networks share, an empty loader. While training: a loss
            that is not finite.

    >>> import imbik
    >>> net, small = (nn.Sequential(nn.Linear(4, n), nn.ReLU(), nn.Linear(n, 3)) for n in (16, 8))
    >>> batches = [torch.randn(32, 4, generator=torch.Generator().manual_seed(i)) for i in range(20)]
    >>> imbik.distill(net, small, batches, {("0", "0"): imbik.HiddenMSE(), ("", ""): (0.5, imbik.LogitsKL())}, epochs=2).epochs
    2
    """
    _check(teacher, student, epochs, learning_rate)
    call = caller(inputs or usual_inputs)
    pairs = _pairs(losses)
    source = LiveTeacher(teacher, Modules(teacher), [pair.teacher for pair in pairs], call=call)
    transfer = Transfer(pairs, Modules(student), source, call=call)
    batches = _Batches(loader)
    # the caller's own random numbers go on afterwards as if nothing had been drawn
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transfer.bind(student, batches.first())
        # a "row" is a whole batch of length 1: with a budget of one token each is a step of its own
        settings = Training(epochs=epochs, learning_rate=learning_rate, batch_tokens=1, weight_decay=weight_decay)
        with tempfile.TemporaryDirectory(prefix="imbik-") as folder:
            state = fit(
                student,
                _Loss(transfer, batches, label_loss),
                batches,
                settings,
                # never saved in between: the folder is gone with the call, so nothing could be
                # resumed
                RunSettings(seed, Path(folder), progress or Silent(), save_every=float("inf")),
                what="distilling",
                evaluate=_scored(evaluate),
            )
    return Distilled(state.epoch, state.best_epoch + 1, state.history, state.seconds)


class _Batches:
    """Adapter of a DataLoader to the training loop's interface.

    A "row" is a whole batch, handed out in the loader's own order.
    """

    def __init__(self, loader: Iterable[Any]) -> None:
        if not isinstance(loader, Sized) or not len(loader):
            raise UserError("the loader is empty or has no length", where="loader", expected="a DataLoader or a list of batches")
        self.loader = loader
        self._running: Iterator[Any] = iter(())

    def __len__(self) -> int:
        return len(self.loader)

    @property
    def lengths(self) -> NDArray[np.int64]:
        # equal lengths: the loop then has nothing to sort by
        return np.ones(len(self.loader), dtype=np.int64)

    def batch(self, rows: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        return {}  # the loop's own tensors: none, the loss asks for the batch itself

    def first(self) -> Any:
        """Return one batch to take shapes from.

        Raises:
            UserError: the loader gives none.
        """
        for batch in self.loader:
            return batch
        raise self._dry()

    def next(self, device: torch.device) -> Any:
        """Return the next batch; the loader is iterated again when it is at its end."""
        # Once with what is left, once from the beginning; a loader that gives nothing then is
        # empty.
        for _ in range(2):
            for batch in self._running:
                return _to(batch, device)
            self._running = iter(self.loader)
        raise self._dry()

    def _dry(self) -> UserError:
        """Make the error for a loader that has run dry."""
        return UserError("the loader gives no batches", where="loader", expected="something that can be iterated again and again")


class _Loss(nn.Module):
    """Sum of the transfer and the loss against labels, on the loader's next batch."""

    def __init__(self, transfer: Transfer, batches: _Batches, label_loss: Callable[[Tensor, Any], Tensor] | None) -> None:
        super().__init__()
        self.transfer = transfer
        self.batches = batches
        self.label_loss = label_loss

    def forward(self, model: nn.Module, _: object) -> Tensor:
        batch = self.batches.next(next(model.parameters()).device)
        if self.label_loss is None:
            return self.transfer(model, batch)  # type: ignore[no-any-return]
        # The output is read by a hook, so that one forward pass serves both losses.
        with capture(model, [Tap("")]) as seen:
            value: Tensor = self.transfer(model, batch)
        return value + self.label_loss(seen[Tap("")].float(), batch)


def _check(teacher: nn.Module, student: nn.Module, epochs: int, learning_rate: float) -> None:
    """Refuse what cannot be trained, before anything runs."""
    if not isinstance(epochs, int) or epochs < 1:
        raise UserError("there must be at least one pass over the loader", where="epochs", found=epochs, expected="a whole number from 1")
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise UserError("the learning rate cannot be used", where="learning_rate", found=learning_rate, expected="a number above 0")
    of_teacher = {id(parameter) for parameter in teacher.parameters()}
    shared = [name for name, parameter in student.named_parameters() if parameter.requires_grad and id(parameter) in of_teacher]
    if shared:
        raise UserError(
            "training the student would change the teacher: they share weights",
            where="student",
            found=", ".join(shared[:4]) + (", …" if len(shared) > 4 else ""),
            fix="give the student a copy of those layers (copy.deepcopy), or freeze them (requires_grad_(False))",
        )


def _pairs(losses: Losses) -> list[Pair]:
    """Make one pair per entry.

    A loss that is given for several places is copied, since its projection and shapes belong to one
    place.
    """
    if not isinstance(losses, Mapping):
        raise UserError("losses must be a mapping", where="losses", found=type(losses).__name__, expected=_ENTRY)
    pairs: list[Pair] = []
    for paths, value in losses.items():
        pair = _pair(paths, value)
        again = any(pair.loss is other.loss for other in pairs)
        pairs.append(replace(pair, loss=copy.deepcopy(pair.loss)) if again else pair)
    return pairs


def _pair(paths: tuple[str, str], value: nn.Module | tuple[float, nn.Module]) -> Pair:
    """Make the pair of one entry.

    Raises:
        UserError: paths, loss or weight are of another kind.
    """
    weight, loss = value if isinstance(value, tuple) and len(value) == 2 else (1.0, value)
    two = isinstance(paths, tuple) and len(paths) == 2 and all(isinstance(path, str) for path in paths)
    if not (two and isinstance(loss, nn.Module)):
        raise UserError("a loss stands between two modules", where="losses", found=f"{paths!r}: {type(loss).__name__}", expected=_ENTRY)
    if not (isinstance(weight, int | float) and math.isfinite(weight) and weight >= 0):
        raise UserError("the weight of a loss must be a number", where=f"losses, {paths!r}", found=repr(weight), expected="a number from 0")
    return Pair(paths[0], paths[1], loss, float(weight))


def _scored(evaluate: Callable[[nn.Module], float] | None) -> Callable[[nn.Module], float] | None:
    """Wrap the user's ``evaluate``, so that what is no number is refused."""
    if evaluate is None:
        return None

    def score(model: nn.Module) -> float:
        value = evaluate(model)
        try:
            return float(value)
        except (TypeError, ValueError):
            raise UserError("evaluate gives no number", where="evaluate", found=type(value).__name__, expected="a number") from None

    return score


def usual_inputs(batch: object) -> Any:
    """Return what a network takes of a batch, unless the user says otherwise."""
    if isinstance(batch, Mapping):
        return batch
    return (batch[0],) if isinstance(batch, tuple | list) else (batch,)


def caller(inputs: Callable[[Any], Any]) -> Callable[[nn.Module, Any], Any]:
    """Make the function that runs a network on a batch."""

    def call(model: nn.Module, batch: object) -> Any:
        given = inputs(batch)
        if isinstance(given, Tensor):
            return model(given)
        return model(**given) if isinstance(given, Mapping) else model(*given)

    return call


def _to(value: object, device: torch.device) -> Any:
    """Move the tensors of a batch to a device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {key: _to(part, device) for key, part in value.items()}
    return [_to(part, device) for part in value] if isinstance(value, tuple | list) else value
