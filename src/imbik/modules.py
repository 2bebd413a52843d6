"""Distil any PyTorch network into another one: losses between what their modules give, read by forward hooks."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imbik.errors import UserError
from imbik.hooks import Tap, capture
from imbik.progress import Progress, Silent
from imbik.teacher_states import LiveTeacher
from imbik.train import Training, fit
from imbik.transfer import Modules, Pair, Transfer

Losses = Mapping[tuple[str, str], nn.Module | tuple[float, nn.Module]]


@dataclass(frozen=True)
class Distilled:
    """How training went.

    Attributes:
        epochs: passes over the loader.
        best_epoch: whose weights the student has, from 1: the best by ``evaluate``, the last without it.
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
    :func:`imbik.train.fit`; projections between different widths are learned and live on the losses.

    Args:
        teacher: any network; not changed.
        student: any network; on the CPU and in evaluation mode afterwards.
        loader: gives batches, as often as it is iterated, and has a length (a ``DataLoader``, a list).
        losses: ``{(student's path, teacher's path): loss}`` or ``…: (weight, loss)``. Paths are those of ``named_modules``; ``""`` is the
            network's own output. A loss is one of :mod:`imbik.feature_losses`, or any module called as ``loss(student, teacher, mask)``.
        epochs: passes over the loader.
        learning_rate: the highest.
        label_loss: ``label_loss(student's output, batch)``, added to the sum.
        inputs: what the networks take of a batch: a tuple of positional or a mapping of keyword arguments. Default: a tensor itself, the
            first of a tuple or list, all of a mapping.
        evaluate: ``evaluate(student)``, higher is better; the weights of the best epoch remain.
        weight_decay: on matrices.
        seed: of dropout and of what the loader draws from torch.
        progress: where progress is shown.

    Raises:
        UserError: before training: paths that do not exist (with those that do), modules that do not run or give no tensor, shapes that
            cannot be matched, states that no gradient reaches, an empty loader. While training: a loss that is not finite.

    >>> import imbik
    >>> net, small = (nn.Sequential(nn.Linear(4, n), nn.ReLU(), nn.Linear(n, 3)) for n in (16, 8))
    >>> batches = [torch.randn(32, 4, generator=torch.Generator().manual_seed(i)) for i in range(20)]
    >>> imbik.distill(net, small, batches, {("0", "0"): imbik.HiddenMSE(), ("", ""): (0.5, imbik.LogitsKL())}, epochs=2).epochs
    2
    """
    call = _caller(inputs or _usual_inputs)
    pairs = [_pair(paths, value) for paths, value in losses.items()]
    source = LiveTeacher(teacher, Modules(teacher), [pair.teacher for pair in pairs], call=call)
    transfer = Transfer(pairs, Modules(student), source, call=call)
    batches = _Batches(loader)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transfer.bind(student, next(iter(batches.loader)))
        settings = Training(epochs=epochs, learning_rate=learning_rate, batch_tokens=1, weight_decay=weight_decay)
        with tempfile.TemporaryDirectory(prefix="imbik-") as folder:
            state = fit(
                student,
                _Loss(transfer, batches, label_loss),
                batches,
                settings,
                seed=seed,
                directory=Path(folder),
                progress=progress or Silent(),
                what="distilling",
                evaluate=evaluate,
                save_every=float("inf"),
            )
    return Distilled(state.epoch, state.best_epoch + 1, state.history, state.seconds)


class _Batches:
    """A loader behind the face that the training loop knows: a "row" is a whole batch, handed out in the loader's own order."""

    def __init__(self, loader: Any) -> None:
        if not hasattr(loader, "__len__") or not len(loader):
            raise UserError("the loader is empty or has no length", where="loader", expected="a DataLoader or a list of batches")
        self.loader = loader
        self._running: Iterator[Any] = iter(())

    def __len__(self) -> int:
        return len(self.loader)

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.ones(len(self.loader), dtype=np.int64)

    def batch(self, rows: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        return {}  # the loop's own tensors: none, the loss asks for the batch itself

    def next(self, device: torch.device) -> Any:
        """The next batch; the loader is iterated again when it is at its end."""
        for _ in range(2):
            for batch in self._running:
                return _to(batch, device)
            self._running = iter(self.loader)
        raise UserError("the loader gives no batches", where="loader", expected="something that can be iterated again and again")


class _Loss(nn.Module):
    """The transfer, and the loss against labels, on the loader's next batch."""

    def __init__(self, transfer: Transfer, batches: _Batches, label_loss: Callable[[Tensor, Any], Tensor] | None) -> None:
        super().__init__()
        self.transfer, self.batches, self.label_loss = transfer, batches, label_loss

    def forward(self, model: nn.Module, _: Any) -> Tensor:
        batch = self.batches.next(next(model.parameters()).device)
        if self.label_loss is None:
            return self.transfer(model, batch)  # type: ignore[no-any-return]
        with capture(model, [Tap("")]) as seen:
            value: Tensor = self.transfer(model, batch)
        return value + self.label_loss(seen[Tap("")].float(), batch)


def _pair(paths: tuple[str, str], value: nn.Module | tuple[float, nn.Module]) -> Pair:
    weight, loss = value if isinstance(value, tuple) else (1.0, value)
    if not (isinstance(paths, tuple) and len(paths) == 2 and isinstance(loss, nn.Module)):
        raise UserError(
            "a loss stands between two modules",
            where="losses",
            found=f"{paths!r}: {type(loss).__name__}",
            expected="(student's path, teacher's path): a loss module, or (weight, loss module)",
        )
    return Pair(paths[0], paths[1], loss, float(weight))


def _usual_inputs(batch: Any) -> Any:
    if isinstance(batch, Mapping):
        return batch
    return (batch[0],) if isinstance(batch, tuple | list) else (batch,)


def _caller(inputs: Callable[[Any], Any]) -> Callable[[nn.Module, Any], Any]:
    def call(model: nn.Module, batch: Any) -> Any:
        given = inputs(batch)
        return model(**given) if isinstance(given, Mapping) else model(*given)

    return call


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {key: _to(part, device) for key, part in value.items()}
    return [_to(part, device) for part in value] if isinstance(value, tuple | list) else value
