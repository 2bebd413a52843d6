"""Masked language modeling: its loss and its quality."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imbik.data.batches import sorted_batches
from imbik.errors import UserError
from imbik.jobs.seeds import mixed
from imbik.models.tables import positions_of
from imbik.pretraining.corpus import Blocks
from imbik.pretraining.masking import IGNORED, Masker, masked_output
from imbik.training.precision import precision
from imbik.training.prediction import Batch, model_inputs, to_batch

if TYPE_CHECKING:
    from transformers import PretrainedConfig


@dataclass(frozen=True)
class MlmQuality:
    """Quality on held-out blocks, at the masked tokens.

    Attributes:
        loss: mean cross-entropy, in nats.
        perplexity: exp(loss).
        accuracy: share predicted right.
        tokens: how many masked tokens there were.
    """

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
        return self.parts(model, batch)[0][0]

    def parts(self, model: nn.Module, batch: Batch) -> list[tuple[Tensor, float]]:
        """Compute the loss, and how many masked tokens it is the mean over."""
        inputs, labels = self.masker(batch["input_ids"])
        where = labels != IGNORED
        # (M, V) of the M masked tokens, and their labels (M,).
        logits = masked_output(model, model_inputs(batch) | {"input_ids": inputs}, where).logits
        return [(F.cross_entropy(logits.float(), labels[where]), int(where.sum()))]


@torch.inference_mode()
def mlm_quality(model: nn.Module, blocks: Blocks, masker: Masker, seed: int = 0) -> MlmQuality:
    """Measure the quality of a model on some blocks.

    The masks follow from ``seed``, so that two models are asked the same.
    """
    model.eval()
    device = next(model.parameters()).device
    total = 0.0
    right = 0
    count = 0
    # In a fork of the random numbers: measuring must not change what training draws next.
    with torch.random.fork_rng(devices=[]), precision(device):
        # 77: a stream of its own, apart from those that training draws from the same seed.
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
    # exp overflows a float at 709.8: an untrained model may have more nats than that.
    return MlmQuality(total / count, math.exp(min(total / count, 700.0)), right / count, count)


def check_length(length: int, config: PretrainedConfig, where: str) -> None:
    """Refuse blocks that the model cannot read.

    Raises:
        UserError: longer than its positions, or shorter than 8.
    """
    if not 8 <= length <= positions_of(config):
        raise UserError("blocks of this length cannot be read", where=where, found=length, expected=f"8 to {positions_of(config)} tokens")
