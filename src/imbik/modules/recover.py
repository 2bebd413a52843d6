"""The settings of a recovery training: a compressed module learns to give what the original gives."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import nn


@dataclass(frozen=True, config=ConfigDict(extra="forbid", arbitrary_types_allowed=True))
class Recovery:
    """Settings of a recovery training.

    Attributes:
        epochs: passes over the loader.
        learning_rate: the highest.
        loss: between both outputs; None: the mean squared difference, which fits logits, values and states alike.
        labels: add the loss against labels.
    """

    epochs: Annotated[int, Ge(1)] = 3
    learning_rate: Annotated[float, Gt(0)] = 1e-3
    loss: nn.Module | None = None
    labels: bool = False
