"""What a model loses with a head or a unit, estimated without taking it away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imbik.factorization.moments import input_moments, labelled_loss, token_batches
from imbik.models.blocks import Block
from imbik.models.hooks import evaluating
from imbik.training.encoding import Encoded
from imbik.types import TaskName

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Importance = Literal["fisher", "taylor", "magnitude", "activation"]


def importance(
    kind: Importance, model: PreTrainedModel, blocks: Sequence[Block], data: Encoded, targets: NDArray[Any], task: TaskName
) -> dict[str, NDArray[np.float64]]:
    """Return how important every head and unit is.

    With a mask m of ones on what each of them gives (Michel et al. 2019, arXiv 1905.10650), g = ∂L/∂m for the loss of one text:

    * ``fisher``: E[g²], the diagonal of the empirical Fisher information: half of it is the loss of removing one alone, to second order
      at a minimum (Kwon et al. 2022, arXiv 2204.09656).
    * ``taylor``: E|g|, to first order (Michel et al. 2019; Molchanov et al. 2017, arXiv 1611.06440).
    * ``activation``: E‖W_u x_u‖² over tokens, what it writes: activation times weight, as a share of its block's.
    * ``magnitude``: ‖its rows‖² + ‖its columns‖², as a share of its block's; it looks at no text.

    The first two are in units of the loss, so that layers, heads and units compare with each other; the other two within their block.

    Args:
        targets: one per row of ``data``, as :meth:`imbik.tasks.task.Task.token_targets` gives them.
    """
    if kind == "magnitude":
        return {block.writer: _share(_magnitude(model, block)) for block in blocks}
    if kind == "activation":
        writers = {block.writer: model.get_submodule(block.writer) for block in blocks}
        moments = input_moments(model, writers, data)
        return {block.writer: _share(_written(writers[block.writer], moments[block.writer], block)) for block in blocks}
    power: Callable[[Tensor], Tensor] = torch.square if kind == "fisher" else torch.abs
    return _by_gradients(power, model, blocks, data, targets, task)


def _by_gradients(
    power: Callable[[Tensor], Tensor],
    model: PreTrainedModel,
    blocks: Sequence[Block],
    data: Encoded,
    targets: NDArray[Any],
    task: TaskName,
) -> dict[str, NDArray[np.float64]]:
    """Return the mean over texts of a power of ∂L/∂m."""
    sums = {block.writer: torch.zeros(block.count, dtype=torch.float64) for block in blocks}
    seen: dict[str, list[Tensor]] = {}

    def keep(writer: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        inputs[0].retain_grad()
        seen[writer].append(inputs[0])

    handles = [model.get_submodule(block.writer).register_forward_pre_hook(partial(keep, block.writer)) for block in blocks]
    try:
        with evaluating(model):
            # the gradient reaches every block in one pass: all masks are asked at once
            for batch in token_batches(data):
                seen.update((block.writer, []) for block in blocks)
                labelled_loss(model, batch, targets, task).backward()
                for block in blocks:
                    # a block that layers share has one mask for all of them: its gradients add up
                    sums[block.writer] += power(sum((_slope(x, block) for x in seen[block.writer]), torch.zeros(1))).sum(0).double()
    finally:
        for handle in handles:
            handle.remove()
        model.zero_grad(set_to_none=True)
    return {writer: (total / len(data)).numpy() for writer, total in sums.items()}


def _slope(x: Tensor, block: Block) -> Tensor:
    """Return ∂L/∂m of every text, ``(B, count)``: Σ x · ∂L/∂x over tokens and the numbers of each unit, as x stands for m x."""
    assert x.grad is not None
    return (x.detach() * x.grad).flatten(1, -2).sum(1).unflatten(-1, (block.count, block.size)).sum(-1)


def _magnitude(model: nn.Module, block: Block) -> NDArray[np.float64]:
    # columns of the writer, then rows of every reader, each with its own unit
    own = model.get_submodule(block.writer).weight.detach().double().square().sum(0).unflatten(0, (block.count, block.size)).sum(-1)
    for path in block.readers:
        rows = model.get_submodule(path).weight.detach().double().square().sum(1)  # (parts · count · size,)
        own = own + rows.unflatten(0, (block.parts, block.count, block.size)).sum((0, 2))
    return np.asarray(own.numpy())


def _written(writer: nn.Module, moments: NDArray[np.float64], block: Block) -> NDArray[np.float64]:
    """Return E‖W_u x_u‖² = tr(W_uᵀ W_u E[x_u x_uᵀ]) of each unit u."""
    weight = writer.weight.detach().double().numpy()
    product = (weight.T @ weight) * moments
    wide = product.reshape(block.count, block.size, block.count, block.size)
    return np.asarray(np.einsum("uaub->u", wide))


def _share(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values / max(float(values.sum()), 1e-300))
