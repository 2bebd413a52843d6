"""The training loop, read top to bottom: batches of like length, bf16 where the processor has it, fused AdamW, exact resume.

Everything random is a function of (seed, epoch, step), and the state on disk is written to a temporary name and renamed, so a
run that was killed and started again ends with the weights of a run that was not. In a launch of several processes
(:mod:`imbik.training.team`) they share the rows of each batch; only the first of them is here.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from imbik.errors import UserError
from imbik.models.layers.compact_table import compact_embeddings
from imbik.training.encoding import Rows
from imbik.training.learning import Learner, steps_of
from imbik.training.settings import RunSettings, Training
from imbik.training.state import State, TrainingState
from imbik.training.threads import chosen_threads
from imbik.training.tracking import tracked

logger = logging.getLogger(__name__)

Evaluate = Callable[[nn.Module], float]
"""The dev score of a model, higher is better."""

_NO_SCORE = -1e30  # of an epoch whose dev score is not finite, while there is no better one to keep


def fit(
    model: nn.Module,
    loss: nn.Module,
    data: Rows,
    settings: Training,
    run: RunSettings,
    *,
    what: str,
    evaluate: Evaluate | None = None,
    pieces: NDArray[np.int64] | None = None,
    keep_start: bool = False,
) -> State:
    """Train ``model`` in place; the weights of the best epoch on dev (of the last without ``evaluate``) remain in it.

    Args:
        model: a network, on CPU.
        loss: called as ``loss(model, batch)``, gives a scalar; its own parameters (projections) train too.
        data: the encoded rows, or the blocks of a corpus.
        settings: see :class:`Training`.
        run: seed, folder, progress: a later call with the same folder continues from what lies there.
        what: what progress calls it.
        evaluate: dev score, higher is better.
        pieces: ids that occur in any text the model will see here; their embedding rows train, the others are left alone.
        keep_start: the weights it starts from stand for election too; where no epoch is better on dev they remain, and ``best_epoch``
            of the state is -1.

    Raises:
        UserError: the loss stopped being finite.
    """
    run.directory.mkdir(parents=True, exist_ok=True)
    device = Accelerator().device  # its precision is one per process and may be set by the user's program; ours is `precision`
    # around everything: optimizer and state on disk know the compact table only
    with compact_embeddings(model, pieces):
        model.to(device)
        loss.to(device)
        parameters = _parameters(model, loss)
        optimizer = torch.optim.AdamW(_groups(parameters, settings), lr=settings.learning_rate, fused=True)
        disk = TrainingState(run.directory, parameters | _buffers(model), optimizer, run.save_every)
        state = disk.restore()
        budget, log = Budget.of(settings, len(data)), tracked()
        if keep_start and evaluate is not None and state.steps_done == 0 and state.elect_start(evaluate(model)):
            disk.save_best(state)

        # a resumed run takes as many threads as it began with, so that its sums are the same
        threads = chosen_threads(_operations(parameters, data, settings), state.threads)
        learner = Learner(model, loss, optimizer, list(parameters.values()), data, settings, run.seed, device)
        with (
            threads as state.threads,
            contextlib.closing(steps_of(learner, what)) as work,
            run.progress.track(what, budget.units, budget.units_done(state)) as bar,
        ):
            while not state.finished:
                # one epoch: a resumed run draws the same batches in the same order
                steps = learner.begin(state.epoch)
                for batches in steps[state.step :]:
                    if budget.spent(state):
                        break
                    began = time.perf_counter()
                    rate = settings.learning_rate * schedule(budget.share(state, len(steps)), settings.warmup)
                    value = work.gradients(state.epoch, state.step, batches, rate)
                    _check_finite(value, state, settings)
                    learner.finish(rate)
                    state.add_step(time.perf_counter() - began, tokens=sum(int(data.lengths[rows].sum()) for rows in batches))
                    disk.maybe_save(state)
                    bar.advance(budget.units_of(batches), f"loss {value:.3f}")
                    if log is not None:
                        log.log(state.steps_done, loss=value, learning_rate=rate)

                score = evaluate(model) if evaluate is not None else float(state.epoch)  # without dev the last epoch is the best
                if state.close_epoch(score if math.isfinite(score) else _replacement(state, evaluate)):
                    disk.save_best(state)
                if log is not None and evaluate is not None:
                    log.log(state.steps_done, dev=score)
                state.open_epoch()
                state.finished = budget.over(state)
                disk.save(state)
                logger.info("%s epoch %d: dev %.4f", type(model).__name__, state.epoch, state.history[-1]["dev"])
        # inside the compact table's context, which writes its rows back when it ends
        disk.load_best(state)
    model.to("cpu").eval()
    return state


@dataclass(frozen=True)
class Budget:
    """How long training lasts: so many steps, or so many passes over the rows, or until dev has stopped rising.

    Attributes:
        steps: 0: no limit.
        epochs: passes over the rows at most.
        rows: rows of a pass.
        patience: epochs without a better dev score that end training; 0: they never do.
    """

    steps: int
    epochs: int
    rows: int
    patience: int

    @classmethod
    def of(cls, settings: Training, rows: int) -> Budget:
        """Return the budget of some settings for ``rows`` rows."""
        return cls(settings.max_steps, settings.epochs, rows, settings.patience)

    @property
    def units(self) -> int:
        """What a progress bar counts up to: steps where they are limited, else rows."""
        return self.steps or self.epochs * self.rows

    def units_done(self, state: State) -> int:
        """Return how many units an interrupted run has behind it."""
        return state.steps_done if self.steps else state.epoch * self.rows

    def units_of(self, batches: list[NDArray[np.int64]]) -> int:
        """Return the units of one step."""
        return 1 if self.steps else sum(map(len, batches))

    def share(self, state: State, steps: int) -> float:
        """Return how much of training is over, 0 to 1, in an epoch of ``steps`` steps."""
        return state.steps_done / self.steps if self.steps else (state.epoch + state.step / steps) / self.epochs

    def spent(self, state: State) -> bool:
        """Return whether the steps are used up."""
        return bool(self.steps) and state.steps_done >= self.steps

    def over(self, state: State) -> bool:
        """Return whether training ends at the end of an epoch."""
        return state.epoch >= self.epochs or self.spent(state) or 0 < self.patience <= state.waited


def schedule(done: float, warmup: float) -> float:
    """Return the factor on the learning rate when a share ``done`` of training is over: linear up, then linear down to zero.

    >>> [round(schedule(x, 0.1), 3) for x in (0.0, 0.05, 0.1, 0.55, 1.0)]
    [0.01, 0.5, 1.0, 0.5, 0.0]
    """
    if done < warmup:
        # not 0: the first step would be lost, of a short training a noticeable part
        return max(done / warmup, 0.01)
    return max(0.0, (1.0 - done) / max(1.0 - warmup, 1e-9))


def _operations(parameters: dict[str, nn.Parameter], data: Rows, settings: Training) -> float:
    """Return about how many floating-point operations training takes: 6 for each parameter and token (Kaplan et al. 2020)."""
    passes = float(settings.epochs * int(np.sum(data.lengths)))
    tokens = min(passes, settings.max_steps * settings.batch_tokens * settings.accumulate) if settings.max_steps else passes
    return float(6 * tokens * sum(parameter.numel() for parameter in parameters.values()))


def _check_finite(value: float, state: State, settings: Training) -> None:
    if not math.isfinite(value):
        raise UserError(
            "the training loss is not finite",
            where=f"epoch {state.epoch + 1}, step {state.step + 1}",
            found=value,
            fix=f"lower learning_rate (now {settings.learning_rate:g}) or check the teacher",
        )


def _replacement(state: State, evaluate: Evaluate | None) -> float:
    """Return the score of an epoch whose own is not finite: it is never elected while there is another one."""
    return -math.inf if evaluate is not None and state.best_epoch >= 0 else _NO_SCORE


def _parameters(model: nn.Module, loss: nn.Module) -> dict[str, nn.Parameter]:
    """Return every trainable parameter once, shared ones under their first name."""
    named = {f"model.{name}": parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    # a loss may hold a part of the model (its head, say), which must not be stepped twice
    known = {id(parameter) for parameter in named.values()}
    own = {f"loss.{name}": p for name, p in loss.named_parameters() if p.requires_grad and id(p) not in known}
    return named | own


def _buffers(model: nn.Module) -> dict[str, Tensor]:
    """Return what training changes besides parameters: the running means of batch norms and the like."""
    # non-persistent buffers (position ids) are not in the state: they never change
    saved = set(model.state_dict())
    return {f"buffer.{name}": buffer for name, buffer in model.named_buffers() if name in saved}


def _groups(parameters: dict[str, nn.Parameter], settings: Training) -> list[dict[str, Any]]:
    """Return AdamW's groups: matrices decay; biases, norms and embedding tables do not."""
    # decay would shrink the rows of rare pieces, which few batches push back
    decays = {name: parameter.ndim > 1 and "embedding" not in name for name, parameter in parameters.items()}
    decayed = [parameter for name, parameter in parameters.items() if decays[name]]
    plain = [parameter for name, parameter in parameters.items() if not decays[name]]
    return [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
