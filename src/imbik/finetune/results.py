"""What a finished fine-tuning gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from imbik.pretraining.mlm import MlmQuality
from imbik.types import Checkpoint


@dataclass(frozen=True)
class Finetuned:
    """What :func:`finetune` gives: the teacher, its quality on dev and test, and how training went."""

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
    """What :func:`finetune_mlm` gives."""

    model: Any
    tokenizer: Any
    before: MlmQuality
    after: MlmQuality
    blocks: int
    epochs: int
    seconds: float
