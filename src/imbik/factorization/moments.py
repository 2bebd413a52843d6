"""Statistics of a model's matrices on real texts: moments, Fisher information, uses.

The second moments of their inputs, the empirical Fisher information, how often they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imbik.data.batches import sorted_batches
from imbik.models.inputs import read_outputs
from imbik.tasks.registry import task_of
from imbik.training.encoding import Encoded
from imbik.training.losses import label_loss
from imbik.training.prediction import Batch, RowTargets, mask_of, model_inputs, to_batch
from imbik.types import TaskName

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.utils import ModelOutput

_BATCH_TOKENS = 1024
"""Tokens of a batch: every module's inputs and gradients are held for one batch at a time."""

Observer = Callable[[str, Tensor, Tensor], None]


@torch.no_grad()
def input_moments(model: PreTrainedModel, modules: Mapping[str, nn.Module], data: Encoded) -> dict[str, NDArray[np.float64]]:
    """Compute E[x xᵀ] ``(n, n)`` over the tokens that each module reads in ``data``, by name.

    Padding is left out.
    """
    sums: dict[str, Tensor] = {}
    counts = dict.fromkeys(modules, 0)
    for batch in token_batches(data):
        mask = mask_of(batch)

        def observe(name: str, x: Tensor, _: Tensor, mask: Tensor | None = mask) -> None:
            # (B, T, n) -> (tokens, n); what has one vector a text has no padding, and images have none.
            rows = (x[mask.bool()] if mask is not None and x.shape[:-1] == mask.shape else x.flatten(0, -2)).double()
            sums[name] = sums[name] + rows.T @ rows if name in sums else rows.T @ rows
            counts[name] += len(rows)

        _run(model, modules, batch, observe)
    return {name: (total / counts[name]).numpy() for name, total in sums.items()}


@torch.no_grad()
def count_uses(model: PreTrainedModel, modules: Mapping[str, nn.Module], data: Encoded) -> dict[str, int]:
    """Count how often each module runs when the model reads a text.

    More than once where layers share it.
    """
    counts = dict.fromkeys(modules, 0)

    def observe(name: str, x: Tensor, _: Tensor) -> None:
        counts[name] += 1

    _run(model, modules, to_batch(data, np.arange(min(1, len(data)))), observe)
    return counts


def fisher_inputs(
    model: PreTrainedModel,
    modules: Mapping[str, nn.Module],
    data: Encoded,
    targets: NDArray[Any],
    task: TaskName,
) -> dict[str, NDArray[np.float64]]:
    """Compute the empirical Fisher information of each module's matrix, summed over outputs.

    ``(n,)``, one number per input.

    I_ij = E[(∂L / ∂W_ij)²], the mean over texts of the squared gradient of one text's loss against
    its label; the result is Σ_i I_ij. In the notation of FWSVD (Hsu et al. 2022, arXiv 2207.00112),
    y = x W, an input is a row of W.

    Args:
        targets: one per row of ``data``, as :meth:`imbik.tasks.task.Task.token_targets` gives them.
    """
    sums = {name: torch.zeros(module.in_features, dtype=torch.float64) for name, module in modules.items()}
    for batch in token_batches(data):
        passes: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in modules}

        def observe(name: str, x: Tensor, y: Tensor, passes: dict[str, list[tuple[Tensor, Tensor]]] = passes) -> None:
            # ∂L / ∂y of an inner tensor is thrown away unless it is asked for.
            y.retain_grad()
            passes[name].append((x.detach(), y))

        _loss(_run(model, modules, batch, observe), batch, targets, task).backward()
        for name, pairs in passes.items():
            sums[name] += _squared_gradients([(x, y) for x, y in pairs if y.grad is not None])
    model.zero_grad(set_to_none=True)
    return {name: (total / len(data)).numpy() for name, total in sums.items()}


def labelled_loss(model: PreTrainedModel, batch: Batch, targets: NDArray[Any], task: TaskName) -> Tensor:
    """Return the sum of the losses of a batch's texts against their labels.

    A sum, so that a text's gradient is that of its own loss.

    Args:
        targets: of all rows, as :meth:`imbik.tasks.task.Task.token_targets` gives them.
    """
    return _loss(model(**model_inputs(batch)), batch, targets, task)


def _loss(output: ModelOutput, batch: Batch, targets: NDArray[Any], task: TaskName) -> Tensor:
    mask = mask_of(batch)
    device = next(batch[name] for name in batch if name != "rows").device
    labels = RowTargets(np.asarray(targets)).take(batch["rows"], None if mask is None else mask.shape[1], device)
    # The loss is a mean over the batch; times its size, every text's gradient is that of its own loss.
    return label_loss(task, read_outputs(output, task_of(task).outputs), labels) * len(labels)


def _squared_gradients(pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Compute Σ over texts and outputs of (∂L / ∂W_ij)², ``(n,)``.

    A module that ran several times adds its gradients up first.

    One text's gradient is G = Σ_t δ_t x_tᵀ, and Σ_i G_ij² = Σ_t x_tj Σ_u (δ_t · δ_u) x_uj: with far
    fewer tokens in a text than outputs in a layer, G itself is never needed.
    """
    # (B, T, n) and (B, T, m); the pooler and the head read one vector a text, (B, n) -> (B, 1, n).
    used = [(x.flatten(1, -2) if x.ndim > 2 else x[:, None], y.grad.flatten(1, -2) if y.ndim > 2 else y.grad[:, None]) for x, y in pairs]
    x = torch.cat([x for x, _ in used], dim=1)  # (B, uses · T, n)
    slope = torch.cat([slope for _, slope in used], dim=1)  # (B, uses · T, m)
    # (B, T, T) = δ δᵀ, times x: (B, T, n).
    return (x * (slope @ slope.transpose(1, 2) @ x)).sum(dim=(0, 1)).double()


def token_batches(data: Encoded) -> list[Batch]:
    """Turn the rows into batches of like length, always the same ones."""
    return [to_batch(data, rows) for rows in sorted_batches(data.lengths, _BATCH_TOKENS)]


def _run(model: PreTrainedModel, modules: Mapping[str, nn.Module], batch: Batch, observe: Observer) -> ModelOutput:
    """Return what the model gives of a batch.

    ``observe`` sees the input and the output of every module.
    """

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda _, inputs, output: observe(name, inputs[0], output)

    model.eval()
    handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
    try:
        output: ModelOutput = model(**model_inputs(batch))
    finally:
        for handle in handles:
            handle.remove()
    return output
