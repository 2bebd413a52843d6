"""Training a supernet: every step teaches the whole model, the smallest one and some at random (the sandwich rule)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from imbik.distillation.soft_labels import train_on_soft_labels
from imbik.pruning.table import Architecture
from imbik.search.supernet import Supernet
from imbik.training.context import Context
from imbik.training.loop import Evaluate
from imbik.training.prediction import Batch
from imbik.training.settings import Count, Positive, TrainedOnDev
from imbik.training.state import State

_JUDGES = 3
"""Random architectures that, with the whole and the smallest, say which epoch was best on dev."""


@dataclass(frozen=True)
class Sandwich(TrainedOnDev):
    """How a supernet is trained.

    Attributes:
        drawn: architectures at random in every step, beside the whole model and the smallest.
        temperature: of the teacher's soft labels.
        the others: see :class:`imbik.training.settings.TrainedOnDev`.
    """

    drawn: Count = 2
    temperature: Positive = 2.0
    target_steps: Count = 600
    learning_rate: Positive = 2e-4


def train_supernet(supernet: Supernet, context: Context, settings: Sandwich) -> State:
    """Train the supernet's weights in place on the teacher's logits; killed and started again, it ends with the same weights.

    As Yu and Huang (2019, arXiv 1903.05134) train slimmable networks: the mean of the losses of the whole model, the smallest and some
    drawn anew in every step. Here all of them learn from the teacher, which the whole model equals at the start.
    """

    def wrap(loss: nn.Module, evaluate: Evaluate) -> tuple[nn.Module, Evaluate]:
        return _Loss(supernet, loss, settings.drawn), _judged(supernet, evaluate)

    # a folder of its own: the vocabulary step before it may keep things too
    training = replace(context, directory=context.directory / "supernet")
    return train_on_soft_labels(
        supernet.checkpoint, training, settings, temperature=settings.temperature, hard=0.0, what="training the supernet", wrap=wrap
    )


class _Loss(nn.Module):  # type: ignore[misc]
    """The mean loss of the architectures of one step."""

    def __init__(self, supernet: Supernet, loss: nn.Module, drawn: int) -> None:
        super().__init__()
        self.supernet, self.inner, self.drawn = supernet, loss, drawn

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Compute the loss on one batch."""
        space = self.supernet.space
        # the loop seeds torch anew in every step: a run that was killed draws what it would have drawn
        generator = np.random.default_rng(int(torch.randint(2**62, (1,))))
        chosen = [space.full, space.smallest, *(space.draw(generator) for _ in range(self.drawn))]
        # all in one graph: their gradients meet in the shared matrices, in one step
        losses = []
        for decisions in chosen:
            with self.supernet.active(space.architecture(decisions)):
                losses.append(self.inner(model, batch))
        return torch.stack(losses).mean()


def _judged(supernet: Supernet, evaluate: Evaluate) -> Evaluate:
    """Return the mean dev score of the whole model, the smallest and some others, always the same."""
    space, generator = supernet.space, np.random.default_rng(0)
    chosen = [space.full, space.smallest, *(space.draw(generator) for _ in range(_JUDGES))]

    def score(model: nn.Module) -> float:
        return float(np.mean([scored(supernet, space.architecture(one), evaluate) for one in chosen]))

    return score


def scored(supernet: Supernet, chosen: Architecture, evaluate: Evaluate) -> float:
    """Return the dev score of one sub-network, with the supernet's weights as they are."""
    with supernet.active(chosen):
        return evaluate(supernet.checkpoint.model)
