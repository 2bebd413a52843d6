"""What a model's matrices meet on real texts: the second moments of their inputs, their Fisher information, how often they are used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imbik.data.batches import sorted_batches
from imbik.training.encoding import Encoded
from imbik.training.losses import label_loss
from imbik.training.prediction import Batch, model_inputs, to_batch
from imbik.types import TaskName

_BATCH_TOKENS = 1024

Observer = Callable[[str, Tensor, Tensor], None]


@torch.no_grad()
def input_moments(model: Any, modules: Mapping[str, nn.Module], data: Encoded) -> dict[str, NDArray[np.float64]]:
    """E[x xᵀ] ``(n, n)`` over the tokens (padding left out) that each module reads in ``data``, by name."""
    sums: dict[str, Tensor] = {}
    counts = dict.fromkeys(modules, 0)
    for batch in _batches(data):
        mask = batch["attention_mask"].bool()

        def observe(name: str, x: Tensor, _: Tensor, mask: Tensor = mask) -> None:
            rows = (x[mask] if x.shape[:-1] == mask.shape else x.flatten(0, -2)).double()
            sums[name] = sums[name] + rows.T @ rows if name in sums else rows.T @ rows
            counts[name] += len(rows)

        _run(model, modules, batch, observe)
    return {name: (total / counts[name]).numpy() for name, total in sums.items()}


@torch.no_grad()
def uses(model: Any, modules: Mapping[str, nn.Module], data: Encoded) -> dict[str, int]:
    """How often each module runs when the model reads a text: more than once where layers share it."""
    counts = dict.fromkeys(modules, 0)

    def observe(name: str, x: Tensor, _: Tensor) -> None:
        counts[name] += 1

    _run(model, modules, to_batch(data, np.arange(min(1, len(data)))), observe)
    return counts


def fisher_inputs(
    model: Any,
    modules: Mapping[str, nn.Module],
    data: Encoded,
    targets: NDArray[Any],
    task: TaskName,
) -> dict[str, NDArray[np.float64]]:
    """The empirical Fisher information of each module's matrix, summed over its outputs: ``(n,)``, one number per input.

    I_ij = E[(∂L / ∂W_ij)²], the mean over texts of the squared gradient of one text's loss against its label; the result is
    Σ_i I_ij. In the notation of FWSVD (Hsu et al. 2022, arXiv 2207.00112), y = x W, an input is a row of W.

    Args:
        targets: one per row of ``data``, as in :class:`imbik.types.Examples`.
    """
    sums = {name: torch.zeros(module.in_features, dtype=torch.float64) for name, module in modules.items()}
    for batch in _batches(data):
        held: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in modules}

        def observe(name: str, x: Tensor, y: Tensor, held: dict[str, list[tuple[Tensor, Tensor]]] = held) -> None:
            y.retain_grad()
            held[name].append((x.detach(), y))

        wanted = torch.from_numpy(np.asarray(targets)[batch["rows"].numpy()])
        logits = _run(model, modules, batch, observe)
        # The loss is a mean over the batch; times its size, every text's gradient is that of its own loss.
        (label_loss(task, logits, wanted) * len(wanted)).backward()
        for name, pairs in held.items():
            sums[name] += _squared_gradients([(x, y) for x, y in pairs if y.grad is not None])
    model.zero_grad(set_to_none=True)
    return {name: (total / len(data)).numpy() for name, total in sums.items()}


def _squared_gradients(pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Σ over texts and outputs of (∂L / ∂W_ij)², ``(n,)``; a module that ran several times adds its gradients up first.

    One text's gradient is G = Σ_t δ_t x_tᵀ, and Σ_i G_ij² = Σ_t x_tj Σ_u (δ_t · δ_u) x_uj: with far fewer tokens in a text than
    outputs in a layer, G itself is never needed.
    """
    used = [(x.flatten(1, -2) if x.ndim > 2 else x[:, None], y.grad.flatten(1, -2) if y.ndim > 2 else y.grad[:, None]) for x, y in pairs]
    x, slope = torch.cat([x for x, _ in used], dim=1), torch.cat([slope for _, slope in used], dim=1)  # (B, T, n), (B, T, m)
    return (x * (slope @ slope.transpose(1, 2) @ x)).sum(dim=(0, 1)).double()


def _batches(data: Encoded) -> list[Batch]:
    return [to_batch(data, rows) for rows in sorted_batches(data.lengths, _BATCH_TOKENS)]


def _run(model: Any, modules: Mapping[str, nn.Module], batch: Batch, observe: Observer) -> Tensor:
    """Logits of a batch in float32; ``observe`` sees the input and the output of every module."""

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda _, inputs, output: observe(name, inputs[0], output)

    model.eval()
    handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
    try:
        logits: Tensor = model(**model_inputs(batch)).logits.float()
    finally:
        for handle in handles:
            handle.remove()
    return logits
