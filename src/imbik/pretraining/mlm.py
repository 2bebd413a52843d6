"""Masked language modeling: its loss and its quality."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imbik.data.batches import sorted_batches
from imbik.errors import UserError
from imbik.jobs.seeds import mixed
from imbik.models.pretrained import positions_of
from imbik.pretraining.corpus import Blocks
from imbik.pretraining.masking import IGNORED, Masker, masked_output
from imbik.training.precision import precision
from imbik.training.prediction import Batch, model_inputs, to_batch


@dataclass(frozen=True)
class MlmQuality:
    """On held-out blocks, at the masked tokens: mean cross-entropy in nats, exp of it, share predicted right, and how many they were."""

    loss: float
    perplexity: float
    accuracy: float
    tokens: int


class MaskedLoss(nn.Module):
    """Cross-entropy at the masked tokens; masks are drawn anew for every batch."""

    def __init__(self, masker: Masker) -> None:
        super().__init__()
        self.masker = masker

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        inputs, labels = self.masker(batch["input_ids"])
        where = labels != IGNORED
        logits = masked_output(model, model_inputs(batch) | {"input_ids": inputs}, where).logits
        return F.cross_entropy(logits.float(), labels[where])


@torch.inference_mode()
def mlm_quality(model: nn.Module, blocks: Blocks, masker: Masker, seed: int = 0) -> MlmQuality:
    """Quality on some blocks; the masks follow from ``seed``, so that two models are asked the same."""
    model.eval()
    device = next(model.parameters()).device
    total, right, count = 0.0, 0, 0
    with torch.random.fork_rng(devices=[]), precision(device):
        torch.manual_seed(mixed(seed, 77))
        for rows in sorted_batches(blocks.lengths, 4096):
            batch = to_batch(blocks, rows)
            inputs, labels = masker(batch["input_ids"])
            where = labels != IGNORED
            values = {name: value.to(device) for name, value in (model_inputs(batch) | {"input_ids": inputs}).items()}
            logits = masked_output(model, values, where.to(device)).logits.float().cpu()
            total += float(F.cross_entropy(logits, labels[where], reduction="sum"))
            right += int((logits.argmax(1) == labels[where]).sum())
            count += int(where.sum())
    return MlmQuality(total / count, math.exp(min(total / count, 700.0)), right / count, count)


def check_length(length: int, config: Any, where: str) -> None:
    """Refuse blocks that the model cannot read.

    Raises:
        UserError: longer than its positions, or shorter than 8.
    """
    if not 8 <= length <= positions_of(config):
        raise UserError("blocks of this length cannot be read", where=where, found=length, expected=f"8 to {positions_of(config)} tokens")
