"""Layers with fewer channels: real, smaller tensors."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from imbik.models.layers.low_rank_recurrent import recurrent_settings

Kept: TypeAlias = Tensor
"""Indices of the channels that stay, in rising order."""


def cut(module: nn.Module, inputs: Kept | None, outputs: Kept) -> nn.Module:
    """Return a layer with some of its channels: the same object, changed in place, but for a recurrent one.

    Args:
        module: a layer of :class:`imbik.modules.channels.follow.Slots`.
        inputs: of what it reads; None: it reads no channels.
        outputs: of what it gives.
    """
    made: Any = module
    # a recurrent layer keeps its weights in one block of memory, which is laid out anew
    if isinstance(module, nn.RNNBase):
        assert inputs is not None
        return _recurrent(module, inputs, outputs)
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
        return _norm(module, outputs)
    if isinstance(module, nn.Embedding):
        made.weight = _part(made.weight, outputs, 1)
        made.embedding_dim = len(outputs)
        return module
    made.weight = _part(made.weight, outputs, 0)
    if made.bias is not None:
        made.bias = _part(made.bias, outputs, 0)
    # depthwise: each channel is its own group, and reads what it gives
    if getattr(made, "groups", 1) > 1:
        made.groups = made.in_channels = made.out_channels = len(outputs)
        return module
    assert inputs is not None
    made.weight = _part(made.weight, inputs, 1)
    names = ("in_features", "out_features") if isinstance(module, nn.Linear) else ("in_channels", "out_channels")
    setattr(made, names[0], len(inputs))
    setattr(made, names[1], len(outputs))
    return module


def _part(parameter: nn.Parameter, kept: Kept, axis: int) -> nn.Parameter:
    """Return some slices of a parameter along an axis, in memory of their own."""
    return nn.Parameter(parameter.detach().index_select(axis, kept), requires_grad=parameter.requires_grad)


def _norm(norm: Any, kept: Kept) -> nn.Module:
    if norm.weight is not None:
        norm.weight, norm.bias = _part(norm.weight, kept, 0), _part(norm.bias, kept, 0)
    if norm.running_mean is not None:
        norm.running_mean, norm.running_var = norm.running_mean[kept].clone(), norm.running_var[kept].clone()
    norm.num_features = len(kept)
    return norm  # type: ignore[no-any-return]


def gate_rows(module: nn.RNNBase, kept: Kept) -> Kept:
    """Return the rows of a recurrent layer's weights that belong to some units: those of every gate.

    >>> gate_rows(nn.GRU(2, 4), torch.tensor([0, 3])).tolist()
    [0, 3, 4, 7, 8, 11]
    """
    gates = module.weight_hh_l0.shape[0] // module.hidden_size
    rows: Tensor = torch.cat([kept + gate * module.hidden_size for gate in range(gates)])
    return rows


def _recurrent(rnn: nn.RNNBase, inputs: Kept, units: Kept) -> nn.Module:
    """Make a recurrent layer of some units, the same in all of its layers and directions."""
    kind: Any = type(rnn)
    new: nn.RNNBase = kind(len(inputs), **(recurrent_settings(rnn) | {"hidden_size": len(units)}))
    rows = gate_rows(rnn, units)
    # what the layers behind the first one read: the units of all directions
    between = torch.cat([units + direction * rnn.hidden_size for direction in range(2 if rnn.bidirectional else 1)])
    old = dict(rnn.named_parameters())
    with torch.no_grad():
        for name, parameter in new.named_parameters():
            value = old[name][rows]
            if name.startswith("weight_hh"):
                value = value[:, units]
            elif name.startswith("weight_ih"):
                value = value[:, inputs if "_l0" in name else between]
            parameter.copy_(value)
    return new.train(rnn.training)
