"""How much a network would miss each of its channels."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imbik.errors import UserError
from imbik.models.hooks import evaluating, first_tensor
from imbik.modules.arguments import call, float64
from imbik.modules.channels.follow import Channels, Slots
from imbik.modules.step import Job

Scores = dict[int, float]
"""Set of channels -> its importance."""

_BATCHES = 16
"""Batches of the loader that gradients are taken on, at most."""


def by_magnitude(found: Channels) -> Scores:
    """Score each set of channels by the size of what it can carry.

    The norm of the weights that make a channel, times the factor of its batch norms and of its depthwise kernels, times the norm of
    the weights that read it: 0 where it is never changed, or never read.
    """
    makes, reads, scales = ({}, {}, {})  # type: tuple[Scores, Scores, Scores]
    for slots in found.layers.values():
        roots = found.sets.roots(slots.outputs)
        # a batch norm or depthwise kernel makes nothing of its own: it scales
        if slots.makes:
            _add(makes, roots, _made(slots.module))
            if slots.inputs is not None:
                _add(reads, found.sets.roots(slots.inputs), _read(slots.module))
            if isinstance(slots.module, nn.RNNBase):
                # a unit is read by the next step of its own layer too
                _add(reads, roots, _recurrent_reads(slots.module))
        else:
            for root, factor in zip(roots, _factor(slots.module), strict=True):
                scales[int(root)] = scales.get(int(root), 1.0) * float(factor)
    return {root: float(np.sqrt(made)) * scales.get(root, 1.0) * float(np.sqrt(reads.get(root, 0.0))) for root, made in makes.items()}


def _add(sums: Scores, roots: NDArray[np.int64], values: NDArray[np.float64]) -> None:
    for root, value in zip(roots, values, strict=True):
        sums[int(root)] = sums.get(int(root), 0.0) + float(value)


def _made(module: nn.Module) -> NDArray[np.float64]:
    """Return the squared norm of the weights that make each output channel."""
    if isinstance(module, nn.RNNBase):
        parts = [p.detach().reshape(-1, module.hidden_size, p[0].numel()) for p in module.parameters()]
        return float64(torch.stack([part.square().sum((0, 2)) for part in parts]).sum(0))
    squares: Tensor = module.weight.detach().square()  # type: ignore[operator, union-attr]
    if isinstance(module, nn.Embedding):
        return float64(squares.sum(0))
    size = squares.flatten(1).sum(1)
    return float64(size if module.bias is None else size + module.bias.detach().square())  # type: ignore[operator, union-attr]


def _read(module: nn.Module) -> NDArray[np.float64]:
    """Return the squared norm of the weights that read each input channel."""
    if isinstance(module, nn.RNNBase):
        firsts = [p for name, p in module.named_parameters() if name.startswith("weight_ih_l0")]
        return float64(torch.stack([p.detach().square().sum(0) for p in firsts]).sum(0))
    squares: Tensor = module.weight.detach().square()  # type: ignore[operator, union-attr]
    return float64(squares.transpose(0, 1).flatten(1).sum(1))


def _recurrent_reads(module: nn.RNNBase) -> NDArray[np.float64]:
    parts = [p for name, p in module.named_parameters() if name.startswith("weight_hh") or ("weight_ih" in name and "_l0" not in name)]
    # behind the first layer both directions are read side by side
    return float64(torch.stack([p.detach().square().sum(0).reshape(-1, module.hidden_size).sum(0) for p in parts]).sum(0))


def _factor(module: nn.Module) -> NDArray[np.float64]:
    """Return what a batch norm or a depthwise kernel multiplies each channel by, at most."""
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
        scale = torch.ones(module.num_features) if module.weight is None else module.weight.detach().abs()
        spread = torch.ones_like(scale) if module.running_var is None else (module.running_var + module.eps).sqrt()
        return float64(scale / spread)
    weight: Tensor = module.weight.detach()  # type: ignore[operator, union-attr]
    return float64(weight.flatten(1).norm(dim=1))


def by_taylor(model: nn.Module, found: Channels, job: Job) -> Scores:
    """Score each set of channels by how much the loss would change without the weights that make them.

    The mean over batches of (Σ g · w)², g the gradient of the loss: the first order of its Taylor expansion (Molchanov et al. 2019,
    arXiv 1906.10771, equation 8).

    Raises:
        UserError: there is no loader or no loss against labels.
    """
    if job.loader is None or job.label_loss is None:
        raise UserError("importance by gradients needs data", where="prune.importance", expected="a loader and label_loss")
    totals: Scores = {}
    layers = {path: slots for path, slots in found.layers.items() if slots.makes}
    with evaluating(model), torch.enable_grad():
        for batch in islice(iter(job.loader), _BATCHES):
            model.zero_grad(set_to_none=True)
            output = first_tensor(call(model, job.inputs(batch)))
            if output is None:
                raise UserError("the module gives no tensor", where=type(model).__name__)
            job.label_loss(output, batch).backward()
            # tied channels go together: their changes add up before they are squared
            sums: Scores = {}
            for slots in layers.values():
                _add(sums, found.sets.roots(slots.outputs), _change(slots))
            for root, value in sums.items():
                totals[root] = totals.get(root, 0.0) + value**2
    model.zero_grad(set_to_none=True)
    return totals


def _change(slots: Slots) -> NDArray[np.float64]:
    """Return Σ g · w over the weights that make each output channel."""
    module, size = slots.module, len(slots.outputs)
    total = torch.zeros(size, dtype=torch.float64)
    for parameter in module.parameters(recurse=False):
        if parameter.grad is None:
            continue
        product = (parameter.detach() * parameter.grad).double()
        if isinstance(module, nn.Embedding):
            total += product.sum(0)
        else:
            total += product.reshape(-1, size, product[0].numel()).sum((0, 2))
    return float64(total)


def relative(scores: Mapping[int, float]) -> dict[int, float]:
    """Divide scores by their mean, so that those of different layers can be compared.

    >>> relative({1: 1.0, 2: 3.0})
    {1: 0.5, 2: 1.5}
    """
    mean = sum(scores.values()) / max(len(scores), 1)
    return {root: score / max(mean, 1e-30) for root, score in scores.items()}
