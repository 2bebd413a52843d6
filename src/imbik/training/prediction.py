"""Predictions of a PyTorch model in batches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imbik.data.batches import sorted_batches
from imbik.jobs.progress import Task
from imbik.tasks.metrics import score
from imbik.tasks.task import TASKS
from imbik.training.encoding import Encoded, Rows
from imbik.training.precision import precision
from imbik.types import Splits

Batch = dict[str, Tensor]
"""``input_ids``, ``attention_mask`` (``token_type_ids``), each ``(B, T)`` int64, and ``rows`` ``(B,)``: row numbers in the data."""


def to_batch(data: Rows, rows: NDArray[np.int64], device: torch.device | str = "cpu") -> Batch:
    """Padded tensors of some rows, with their row numbers."""
    batch = {name: torch.from_numpy(array).to(device) for name, array in data.batch(rows).items()}
    batch["rows"] = torch.from_numpy(rows)
    return batch


def model_inputs(batch: Batch) -> Batch:
    """What a transformers model takes of a batch."""
    return {name: value for name, value in batch.items() if name != "rows"}


@torch.inference_mode()
def predict_logits(model: nn.Module, data: Encoded, budget: int = 4096, task: Task | None = None) -> NDArray[np.float32]:
    """Logits ``(N, L)`` float32 of every row, in the order of the rows, in the precision that training uses."""
    model.eval()
    device = next(model.parameters()).device
    out: NDArray[np.float32] | None = None
    with precision(device):
        for rows in sorted_batches(data.lengths, budget):
            logits = model(**model_inputs(to_batch(data, rows, device))).logits.float().cpu().numpy()
            out = np.zeros((len(data), logits.shape[1]), dtype=np.float32) if out is None else out
            out[rows] = logits
            if task is not None:
                task.advance(len(rows))
    return out if out is not None else np.zeros((0, 0), dtype=np.float32)


def dev_score(splits: Splits, dev: Encoded) -> Callable[[nn.Module], float]:
    """``evaluate`` for :func:`imbik.training.loop.fit`: the task's metric on dev."""
    task, targets = TASKS[splits.task], np.asarray(splits.dev.targets)

    def evaluate(model: nn.Module) -> float:
        return float(score(splits.metric, task.decode(predict_logits(model, dev)), targets, splits.task))

    return evaluate
