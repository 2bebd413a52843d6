"""Results of a finished fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from imbik.pretraining.mlm import MlmQuality
from imbik.types import Checkpoint


@dataclass(frozen=True)
class Finetuned:
    """The teacher that :func:`imbik.finetune.classifier.finetune` gives, its quality, and how training went.

    Attributes:
        checkpoint: the teacher.
        metric: what ``dev`` and ``test`` are stated in.
        dev, test: its quality.
        epochs, best_epoch: passes over the data, and the one that was kept, from 1; 0: the start, the base with a linear head.
        truncated: training texts that were cut.
        seconds: of training.
    """

    checkpoint: Checkpoint
    metric: str
    dev: float
    test: float
    epochs: int
    best_epoch: int
    truncated: int
    seconds: float


@dataclass(frozen=True)
class FittedMlm:
    """The masked language model that :func:`imbik.finetune.mlm.finetune_mlm` gives, before and after."""

    model: Any
    tokenizer: Any
    before: MlmQuality
    after: MlmQuality
    blocks: int
    epochs: int
    seconds: float
