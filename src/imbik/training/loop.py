"""The training loop, read top to bottom: batches of like length, bf16 where the processor has it, fused AdamW, exact resume.

Everything random is a function of (seed, epoch, step), and the state on disk is written to a temporary name and renamed, so a
run that was killed and started again ends with the weights of a run that was not.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from imbik.data.batches import shuffled_batches
from imbik.errors import UserError
from imbik.jobs.progress import Progress, Task
from imbik.models.layers.compact_table import compact_embeddings
from imbik.training.encoding import Rows
from imbik.training.precision import precision
from imbik.training.prediction import to_batch
from imbik.training.settings import Training
from imbik.training.state import Keeper, State

logger = logging.getLogger(__name__)


def fit(
    model: nn.Module,
    loss: nn.Module,
    data: Rows,
    settings: Training,
    *,
    seed: int,
    directory: Path,
    progress: Progress,
    what: str,
    evaluate: Callable[[nn.Module], float] | None = None,
    pieces: NDArray[np.int64] | None = None,
    save_every: float = 30.0,
    keep_start: bool = False,
) -> State:
    """Train ``model`` in place; the weights of the best epoch on dev (of the last without ``evaluate``) remain in it.

    Args:
        model: a network, on CPU.
        loss: called as ``loss(model, batch)``, gives a scalar; its own parameters (projections) train too.
        data: the encoded rows, or the blocks of a corpus.
        settings: see :class:`Training`.
        seed: of the order of rows and of dropout.
        directory: holds the state while training runs; a later call with the same directory continues from there.
        progress: where progress is shown.
        what: what progress calls it.
        evaluate: dev score, higher is better.
        pieces: ids that occur in any text the model will see here; their embedding rows train, the others are left alone.
        save_every: seconds between states on disk.
        keep_start: the weights it starts from stand for election too; where no epoch is better on dev they remain, and ``best_epoch`` of
            the state is -1.

    Raises:
        UserError: the loss stopped being finite.
    """
    directory.mkdir(parents=True, exist_ok=True)
    accelerator = Accelerator()  # its precision is one per process and may be set by the user's program; ours is `precision`
    with compact_embeddings(model, pieces):
        model.to(accelerator.device)
        loss.to(accelerator.device)
        names, parameters = _parameters(model, loss)
        optimizer = torch.optim.AdamW(_groups(names, parameters, settings), lr=settings.learning_rate, fused=True)
        buffers = _buffers(model)
        keeper = Keeper(directory, names + list(buffers), parameters + list(buffers.values()), optimizer, save_every)
        state = keeper.restore()
        run = _Run(model, loss, data, settings, seed, accelerator, optimizer, parameters, keeper)
        if keep_start and evaluate is not None:
            _elect_start(state, evaluate, model, keeper)
        total = settings.epochs * len(data) if not settings.max_steps else settings.max_steps
        with progress.track(what, total, _units_done(state, settings, len(data))) as bar:
            while not state.finished:
                run.epoch(state, bar)
                _close_epoch(state, settings, evaluate, model, keeper, accelerator)
        keeper.load_best(state)
    model.to("cpu").eval()
    return state


@dataclass
class _Run:
    """One pass over the data at a time."""

    model: nn.Module
    loss: nn.Module
    data: Rows
    settings: Training
    seed: int
    accelerator: Accelerator
    optimizer: torch.optim.Optimizer
    parameters: list[nn.Parameter]
    keeper: Keeper

    def epoch(self, state: State, bar: Task) -> None:
        batches = shuffled_batches(self.data.lengths, self.settings.batch_tokens, mixed(self.seed, state.epoch))
        plan = [batches[i : i + self.settings.accumulate] for i in range(0, len(batches), self.settings.accumulate)]
        self.model.train()
        self.loss.train()
        while state.step < len(plan) and not self._enough(state):
            parts = plan[state.step]
            began = time.perf_counter()
            value = self._step(parts, state, len(plan))
            state.seconds += time.perf_counter() - began
            state.tokens += sum(int(self.data.lengths[rows].sum()) for rows in parts)
            state.step += 1
            state.steps_done += 1
            self.keeper.maybe_save(state)
            bar.advance(1 if self.settings.max_steps else sum(map(len, parts)), f"loss {value:.3f}")

    def _step(self, parts: list[NDArray[np.int64]], state: State, steps: int) -> float:
        torch.manual_seed(mixed(self.seed, state.epoch, state.step))
        done = (
            state.steps_done / self.settings.max_steps
            if self.settings.max_steps
            else ((state.epoch + state.step / steps) / self.settings.epochs)
        )
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * schedule(done, self.settings.warmup)
        result = 0.0
        for rows in parts:
            batch = to_batch(self.data, rows, self.accelerator.device)
            with precision(self.accelerator.device):
                value = self.loss(self.model, batch) / len(parts)
            self.accelerator.backward(value)
            result += float(value.detach())
        if not math.isfinite(result):
            raise UserError(
                "the training loss is not finite",
                where=f"epoch {state.epoch + 1}, step {state.step + 1}",
                found=result,
                fix=f"lower learning_rate (now {self.settings.learning_rate:g}) or check the teacher",
            )
        torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return result

    def _enough(self, state: State) -> bool:
        return bool(self.settings.max_steps) and state.steps_done >= self.settings.max_steps


def mixed(*numbers: int) -> int:
    """One seed that follows from several numbers.

    >>> mixed(1, 2) != mixed(2, 1) and mixed(1, 2) == mixed(1, 2)
    True
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def schedule(done: float, warmup: float) -> float:
    """Factor on the learning rate when a share ``done`` of training is over: linear up, then linear down to zero.

    >>> [round(schedule(x, 0.1), 3) for x in (0.0, 0.05, 0.1, 0.55, 1.0)]
    [0.01, 0.5, 1.0, 0.5, 0.0]
    """
    if done < warmup:
        return max(done / warmup, 0.01)
    return max(0.0, (1.0 - done) / max(1.0 - warmup, 1e-9))


def _units_done(state: State, settings: Training, rows: int) -> int:
    return state.steps_done if settings.max_steps else state.epoch * rows


def _elect_start(state: State, evaluate: Callable[[nn.Module], float], model: nn.Module, keeper: Keeper) -> None:
    """Before the first step: the weights as they are, as the best so far; an epoch that equals them replaces them."""
    score = evaluate(model) if state.steps_done == 0 else math.nan
    if math.isfinite(score):
        state.best_score = math.nextafter(score, -math.inf)
        keeper.save_best(state)


def _close_epoch(
    state: State,
    settings: Training,
    evaluate: Callable[[nn.Module], float] | None,
    model: nn.Module,
    keeper: Keeper,
    accelerator: Accelerator,
) -> None:
    score = evaluate(model) if evaluate is not None else float(state.epoch)
    if not math.isfinite(score):
        score = -math.inf if evaluate is not None and state.best_epoch >= 0 else -1e30
    state.history.append({"epoch": state.epoch + 1, "dev": score, "seconds": round(state.seconds, 3)})
    if score > state.best_score:
        state.best_score, state.best_epoch = score, state.epoch
        keeper.save_best(state)
    state.epoch += 1
    state.step = 0
    rising = state.best_score > state.history[0]["dev"]  # a score that has not moved yet (multi-label F1 starts at 0) says nothing
    waited = state.epoch - 1 - state.best_epoch if rising else 0
    enough = bool(settings.max_steps) and state.steps_done >= settings.max_steps
    state.finished = state.epoch >= settings.epochs or enough or (0 < settings.patience <= waited)
    keeper.save(state)
    logger.info("%s epoch %d: dev %.4f", type(model).__name__, state.epoch, score)


def _parameters(model: nn.Module, loss: nn.Module) -> tuple[list[str], list[nn.Parameter]]:
    """Every trainable parameter once, shared ones under their first name."""
    found = [(f"model.{n}", p) for n, p in model.named_parameters() if p.requires_grad]
    known = {id(p) for _, p in found}
    found += [(f"loss.{n}", p) for n, p in loss.named_parameters() if p.requires_grad and id(p) not in known]
    return [name for name, _ in found], [parameter for _, parameter in found]


def _buffers(model: nn.Module) -> dict[str, Tensor]:
    """What training changes besides parameters: the running means of batch norms and the like."""
    saved = set(model.state_dict())
    return {f"buffer.{name}": buffer for name, buffer in model.named_buffers() if name in saved}


def _groups(names: list[str], parameters: list[nn.Parameter], settings: Training) -> list[dict[str, Any]]:
    decayed = [p for n, p in zip(names, parameters, strict=True) if p.ndim > 1 and "embedding" not in n]
    plain = [p for n, p in zip(names, parameters, strict=True) if not (p.ndim > 1 and "embedding" not in n)]
    return [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
