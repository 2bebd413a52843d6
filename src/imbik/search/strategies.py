"""Who chooses the next architecture: chance, evolution, or a controller that learns by REINFORCE.

All three answer the same two calls, and are a function of their seed and of what they were told: a search that was killed asks anew,
is told what was evaluated already, and goes on where it was.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from imbik.errors import UserError
from imbik.search.space import SKIP, Decisions, Space

_TRIES = 100
"""Draws in which something new is looked for before an architecture is taken a second time."""


class Strategy(Protocol):
    """Chooser of architectures."""

    def ask(self) -> Decisions:
        """Return the next architecture to look at."""

    def tell(self, decisions: Decisions, reward: float) -> None:
        """Take the reward of the architecture that was asked for last."""


class RandomSearch:
    """Architectures at random, each once."""

    def __init__(self, space: Space, seed: int) -> None:
        self.space, self.seen = space, set[Decisions]()
        self.generator = np.random.default_rng(seed)

    def ask(self) -> Decisions:
        # a small space may be used up, hence no endless search for something new
        for _ in range(_TRIES):
            drawn = self.space.draw(self.generator)
            if drawn not in self.seen:
                break
        self.seen.add(drawn)
        return drawn

    def tell(self, decisions: Decisions, reward: float) -> None:
        """Learn nothing."""


class Evolution:
    """Aging evolution (Real et al. 2019, arXiv 1802.01548): the best of a few of the youngest has a child that differs in one decision.

    Args:
        population: how many are young; so many begin at random.
        rivals: how many of them compete to be a parent.
    """

    def __init__(self, space: Space, seed: int, population: int = 24, rivals: int = 6) -> None:
        self.space, self.rivals = space, rivals
        self.generator = np.random.default_rng(seed)
        self.first = RandomSearch(space, seed)
        self.living: deque[tuple[float, Decisions]] = deque(maxlen=population)
        self.seen = set[Decisions]()

    def ask(self) -> Decisions:
        # a population first, by chance
        if len(self.living) < (self.living.maxlen or 0):
            return self.first.ask()
        for _ in range(_TRIES):
            places = self.generator.permutation(len(self.living))[: self.rivals]
            child = self.space.mutated(max(self.living[int(place)] for place in places)[1], self.generator)
            if child not in self.seen:
                break
        return child

    def tell(self, decisions: Decisions, reward: float) -> None:
        self.seen.add(decisions)
        self.living.append((reward, decisions))


class Controller:
    """An LSTM that decides layer by layer, trained by REINFORCE (ENAS: Pham et al. 2018, arXiv 1802.03268).

    ∇J = E[(R - b) ∇ log π(a)] + β ∇H(π), with R the reward, b its moving average and H the entropy of the decisions; logits are
    2.5 tanh(z / 5), as there. One architecture makes one step of Adam.

    Args:
        width: of the LSTM.
        learning_rate: of Adam.
        entropy: β.
        decay: of the moving average.
    """

    def __init__(
        self, space: Space, seed: int, width: int = 64, learning_rate: float = 1e-2, entropy: float = 1e-3, decay: float = 0.9
    ) -> None:
        self.space, self.entropy, self.decay = space, entropy, decay
        self.generator = torch.Generator().manual_seed(seed)
        # weights from this seed, and the program's own random numbers left alone
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.policy = _Policy(space, width)
        self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=learning_rate)
        self.baseline: float | None = None
        self.last: tuple[Tensor, Tensor] | None = None

    def ask(self) -> Decisions:
        decisions, *self.last = self.policy.sample(self.generator)  # type: ignore[assignment]
        return decisions

    def tell(self, decisions: Decisions, reward: float) -> None:
        assert self.last is not None, "tell() follows ask()"
        log_probability, entropy = self.last
        # before the loss, as ENAS does: the first reward is its own baseline and teaches nothing
        self.baseline = reward if self.baseline is None else self.decay * self.baseline + (1 - self.decay) * reward
        loss = -(reward - self.baseline) * log_probability - self.entropy * entropy
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.last = None


class _Policy(nn.Module):  # type: ignore[misc]
    """The controller's network: two decisions for every layer, each fed the one before."""

    def __init__(self, space: Space, width: int) -> None:
        super().__init__()
        self.space = space
        options = max(len(space.heads) + 1, len(space.units))
        self.start = nn.Parameter(torch.zeros(1, width))
        self.embedding = nn.ModuleList(nn.Embedding(options, width) for _ in range(2))
        self.cell = nn.LSTMCell(width, width)
        # the first decides heads or, behind them, to leave the layer out
        self.heads = nn.Linear(width, len(space.heads) + 1)
        self.units = nn.Linear(width, len(space.units))

    def sample(self, generator: torch.Generator) -> tuple[Decisions, Tensor, Tensor]:
        """Return an architecture, the logarithm of its probability and the entropy of its decisions."""
        x, state = self.start, None
        found: list[int] = []
        total, entropy = torch.zeros(()), torch.zeros(())
        for place in range(self.space.depth):
            # something must stay: the last layer where nothing stood before
            must = place in self.space.fixed or (place == self.space.depth - 1 and all(value == SKIP for value in found))
            for kind, head in enumerate((self.heads, self.units)):
                if kind == 1 and found[-1] == SKIP:
                    found.append(SKIP)
                    continue
                state = self.cell(x, state)
                # bounded logits: no decision is ever certain, so that it goes on exploring
                logits = 2.5 * torch.tanh(head(state[0])[0] / 5.0)
                if kind == 0 and must:
                    logits = logits[:-1]
                logs = torch.log_softmax(logits, -1)
                chosen = int(torch.multinomial(logs.detach().exp(), 1, generator=generator))
                total, entropy = total + logs[chosen], entropy - (logs.exp() * logs).sum()
                found.append(SKIP if kind == 0 and chosen == len(self.space.heads) else chosen)
                x = self.embedding[kind](torch.tensor([chosen]))
        return tuple(found), total, entropy


STRATEGIES: dict[str, type[RandomSearch | Evolution | Controller]] = {
    "random": RandomSearch,
    "evolution": Evolution,
    "controller": Controller,
}


def check_strategy(name: str) -> None:
    """Refuse a strategy that there is not.

    Raises:
        UserError: there is none of that name.
    """
    if name not in STRATEGIES:
        raise UserError("unknown strategy", where="--strategy", found=name, expected=", ".join(STRATEGIES))


def strategy_of(name: str, space: Space, seed: int) -> Strategy:
    """Return a strategy by name.

    Raises:
        UserError: there is none of that name.
    """
    check_strategy(name)
    return STRATEGIES[name](space, seed)
