"""A training run against PyTorch's AdamW, step by step: schedule, accumulation, clipping, weight decay."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from imbik.data.batches import shuffled_batches
from imbik.jobs.progress import Silent
from imbik.jobs.seeds import mixed
from imbik.training.loop import Budget, fit, schedule
from imbik.training.settings import RunSettings, Training
from imbik.training.state import State

ROWS = 24
RNG = np.random.default_rng(0)
INPUTS, TARGETS = torch.from_numpy(RNG.normal(size=(ROWS, 3))).float(), torch.from_numpy(RNG.normal(size=ROWS)).float()


class Lengths:
    """Rows of which only the lengths and the numbers count."""

    lengths = RNG.integers(2, 9, ROWS)

    def __len__(self) -> int:
        return ROWS

    def batch(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {"input_ids": np.zeros((len(rows), 1), np.int64)}


class Tiny(nn.Module):
    """A matrix, a bias and a table, used element by element, which no precision of a processor rounds."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.tensor([[0.5, -1.0, 2.0]]))
        self.bias = nn.Parameter(torch.tensor([0.3]))
        self.embeddings = nn.Parameter(torch.linspace(-1, 1, ROWS)[:, None].clone())

    def forward(self, rows: Tensor) -> Tensor:
        return (INPUTS[rows] * self.matrix).sum(1) + self.bias + self.embeddings[rows, 0]


class Squares(nn.Module):
    def forward(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return (model(batch["rows"]) - TARGETS[batch["rows"]]).square().mean()


def by_pytorch(settings: Training, seed: int) -> dict[str, Tensor]:
    """The same by torch.optim.AdamW, with what a reader of the settings expects."""
    model, loss = Tiny(), Squares()
    groups = [
        {"params": [model.matrix], "weight_decay": settings.weight_decay},
        {"params": [model.bias, model.embeddings], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate)
    for epoch in range(settings.epochs):
        batches = shuffled_batches(Lengths.lengths, settings.batch_tokens, mixed(seed, epoch))
        steps = [batches[i : i + settings.accumulate] for i in range(0, len(batches), settings.accumulate)]
        for number, together in enumerate(steps):
            done = (epoch + number / len(steps)) / settings.epochs
            factor = max(done / settings.warmup, 0.01) if done < settings.warmup else (1 - done) / (1 - settings.warmup)
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * factor
            optimizer.zero_grad()
            torch.stack([loss(model, {"rows": torch.from_numpy(rows)}) for rows in together]).mean().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
            optimizer.step()
    return {name: value.detach() for name, value in model.named_parameters()}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"weight_decay": 5.0},
        {"max_grad_norm": 0.05, "learning_rate": 0.5},
        {"accumulate": 3, "max_grad_norm": 3.0},  # where some steps are clipped and others not, AdamW knows a mean from a sum
        {"warmup": 0.5, "accumulate": 2, "weight_decay": 1.0, "max_grad_norm": 0.2},
    ],
    ids=["plain", "decay", "clipping", "accumulation", "all"],
)
def test_steps_are_those_of_adamw(tmp_path: Path, changes: dict[str, float]):
    settings = Training(**{"epochs": 3, "learning_rate": 0.1, "batch_tokens": 24, "warmup": 0.25} | changes)
    model = Tiny()
    state = fit(model, Squares(), Lengths(), settings, RunSettings(4, tmp_path, Silent()), what="test")
    assert state.finished and state.epoch == 3
    expected = by_pytorch(settings, 4)
    for name, value in model.named_parameters():
        torch.testing.assert_close(value.detach(), expected[name], rtol=1e-4, atol=1e-5, msg=name)


def test_clipping_decay_and_accumulation_each_change_the_result():
    plain = {"epochs": 3, "learning_rate": 0.1, "batch_tokens": 24, "warmup": 0.25}
    found = [
        by_pytorch(Training(**plain | more), 4)["matrix"]
        for more in ({}, {"weight_decay": 5.0}, {"accumulate": 3}, {"max_grad_norm": 0.01})
    ]
    assert all(float((one - other).abs().max()) > 1e-3 for i, one in enumerate(found) for other in found[:i])


@pytest.mark.parametrize(
    ("done", "warmup", "factor"),
    [(0.0, 0.0, 1.0), (0.5, 0.0, 0.5), (1.0, 0.0, 0.0), (0.3, 0.6, 0.5), (0.8, 0.6, 0.5), (1.0, 1.0, 0.0), (1.2, 0.1, 0.0)],
)
def test_the_rate_rises_then_falls_to_zero(done: float, warmup: float, factor: float):
    assert schedule(done, warmup) == pytest.approx(factor)


def test_a_budget_of_steps_and_one_of_epochs():
    steps, epochs = Budget(10, 5, 100, 0), Budget(0, 5, 100, 2)
    assert (steps.units, epochs.units) == (10, 500)
    state = waiting(2, best=1)
    state.step, state.steps_done = 3, 4
    assert (steps.units_done(state), epochs.units_done(state)) == (4, 200)
    assert (steps.share(state, 12), epochs.share(state, 12)) == (pytest.approx(0.4), pytest.approx((2 + 3 / 12) / 5))
    assert (steps.units_of([np.arange(3), np.arange(4)]), epochs.units_of([np.arange(3), np.arange(4)])) == (1, 7)
    assert not steps.spent(state) and steps.spent(State(steps_done=10)) and not epochs.spent(State(steps_done=10_000))
    assert not epochs.over(state) and epochs.over(waiting(5, best=4)) and steps.over(State(steps_done=10))
    assert epochs.over(waiting(4, best=1)) and not epochs.over(waiting(4, best=2))
    assert not epochs.over(waiting(4, best=0)), "a score that has not moved yet says nothing"
    assert not Budget(0, 5, 100, 0).over(waiting(4, best=1)), "without patience nobody waits in vain"
    assert not epochs.over(waiting(3, best=2, start=2.0)), "a start that no epoch has reached yet does not count"
    assert epochs.over(waiting(4, best=1, start=2.0))


def waiting(epoch: int, best: int, start: float | None = None) -> State:
    """After ``epoch`` epochs, of which the one of number ``best`` was the best; ``start``: what the weights before them had."""
    history = [{"dev": float(number == best)} for number in range(epoch)]
    if start is not None:
        return State(epoch=epoch, best_epoch=-1, best_score=start, history=history)
    return State(epoch=epoch, best_epoch=best, best_score=1.0, history=history)


@pytest.mark.parametrize(
    ("scores", "best"),
    [((math.nan, 0.5, 0.4), 1), ((-2.0, math.nan, -1.0), 2), ((math.inf, -5.0, math.nan), 1), ((math.nan, math.nan, math.nan), 0)],
)
def test_an_epoch_without_a_finite_score_is_the_best_only_where_there_is_no_other(tmp_path: Path, scores: tuple[float, ...], best: int):
    left = list(scores)
    state = fit(
        Tiny(), Squares(), Lengths(), Training(epochs=3, batch_tokens=64), RunSettings(0, tmp_path, Silent()), what="test",
        evaluate=lambda _model: left.pop(0),
    )  # fmt: skip
    assert state.best_epoch == best
