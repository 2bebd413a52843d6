"""Who chooses: each finds a planted optimum better than its first tries, and is a function of its seed and of what it was told."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imbik.errors import UserError
from imbik.search.space import SKIP, Space
from imbik.search.strategies import STRATEGIES, Controller, strategy_of

SPACE = Space(4, (1, 2, 4), (8, 16, 32))
BEST = (2, 0, SKIP, SKIP, 0, 2, 1, 1)


def reward(decisions):
    return sum(one == other for one, other in zip(decisions, BEST, strict=True)) / len(BEST)


def played(name, count, seed=0):
    strategy, told = strategy_of(name, SPACE, seed), []
    for _ in range(count):
        decisions = strategy.ask()
        told.append((decisions, reward(decisions)))
        strategy.tell(*told[-1])
    return told


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_the_same_seed_asks_the_same(name):
    torch.manual_seed(1)
    first = played(name, 40)
    torch.manual_seed(2)
    assert played(name, 40) == first and played(name, 40, seed=1) != first
    assert all(SPACE.architecture(decisions).layers for decisions, _ in first)


def test_random_search_looks_at_nothing_twice():
    asked = [decisions for decisions, _ in played("random", 300)]
    assert len(set(asked)) == 300


@pytest.mark.parametrize("name", ["evolution", "controller"])
def test_what_learns_gets_better(name):
    gains = []
    for seed in range(3):
        rewards = [value for _, value in played(name, 250, seed)]
        gains.append(np.mean(rewards[-50:]) - np.mean(rewards[:24]))
    assert min(gains) > 0.15


def test_reinforce_moves_probability_to_what_was_rewarded():
    controller = Controller(SPACE, 0, entropy=0.0)
    controller.baseline = 0.0
    before = controller.policy.sample(torch.Generator().manual_seed(5))
    controller.generator = torch.Generator().manual_seed(5)
    decisions = controller.ask()
    assert decisions == before[0]
    controller.tell(decisions, 1.0)
    after = controller.policy.sample(torch.Generator().manual_seed(5))
    if after[0] == decisions:
        assert after[1] > before[1]
    assert controller.baseline == pytest.approx(0.1), "a moving average: 0.9 of what it was, 0.1 of the reward"


def test_a_layer_that_must_stay_stays():
    space = Space(3, (1, 2), (8, 16), fixed=(0,))
    for name in STRATEGIES:
        strategy = strategy_of(name, space, 0)
        for _ in range(60):
            decisions = strategy.ask()
            assert 0 in space.architecture(decisions).layers
            strategy.tell(decisions, -float(len(space.architecture(decisions).layers)))


def test_an_unknown_strategy():
    with pytest.raises(UserError, match="unknown strategy"):
        strategy_of("bayes", SPACE, 0)
