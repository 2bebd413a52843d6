"""A recurrent layer whose input weights are a product of two narrow matrices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from imbik.models.layers.registry import layer

_KINDS: dict[str, type[nn.RNNBase]] = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}


@layer("low_rank_recurrent")
class LowRankRecurrent(nn.Module):
    """An LSTM, GRU or RNN that reads V x in the place of x: W_ih ≈ U V for all gates and directions of its first layer.

    Attributes:
        down: V, ``(rank, input_size)``.
        rnn: the recurrent layer, of input size ``rank``; its first input weights are U.
    """

    def __init__(self, kind: str, input_size: int, rank: int, settings: dict[str, Any]) -> None:
        super().__init__()
        self.kind, self.settings = kind, dict(settings)
        self.down = nn.Linear(input_size, rank, bias=False)
        self.rnn = _KINDS[kind](rank, **settings)

    @classmethod
    def of(cls, rnn: nn.RNNBase, up: Tensor, down: Tensor) -> LowRankRecurrent:
        """Make the layer of a recurrent one and both factors of its input weights."""
        kind = next(name for name, one in _KINDS.items() if type(rnn) is one)
        new = cls(kind, down.shape[1], down.shape[0], recurrent_settings(rnn))
        old = dict(rnn.named_parameters())
        with torch.no_grad():
            new.down.weight.copy_(down)
            for name, parameter in new.rnn.named_parameters():
                # U (D G H, r) in D pieces, one for each direction; all else as it was
                if name in _first_inputs(rnn):
                    number = _first_inputs(rnn).index(name)
                    parameter.copy_(up.chunk(len(_first_inputs(rnn)))[number])
                else:
                    parameter.copy_(old[name])
        new.train(rnn.training)
        return new

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the constructor, see :class:`imbik.models.layers.registry.Layer`."""
        return {"kind": self.kind, "input_size": self.down.in_features, "rank": self.down.out_features, "settings": self.settings}

    def forward(self, x: Tensor | PackedSequence, state: object = None) -> Any:
        # (B, T, n) -> (B, T, r)
        if isinstance(x, PackedSequence):
            return self.rnn(x._replace(data=self.down(x.data)), state)
        return self.rnn(self.down(x), state)


def recurrent_settings(rnn: nn.RNNBase) -> dict[str, Any]:
    """Return the arguments that a recurrent layer was made with, but for its input size.

    >>> recurrent_settings(nn.GRU(4, 8, bidirectional=True))["bidirectional"]
    True
    """
    names = ["hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional"]
    names += {nn.LSTM: ["proj_size"], nn.RNN: ["nonlinearity"]}.get(type(rnn), [])
    return {name: getattr(rnn, name) for name in names}


def input_weights(rnn: nn.RNNBase) -> Tensor:
    """Return what the first layer multiplies its input by, ``(D G H, I)``.

    All gates, both directions, one above the other.
    """
    return torch.cat([getattr(rnn, name) for name in _first_inputs(rnn)])


def _first_inputs(rnn: nn.RNNBase) -> list[str]:
    return ["weight_ih_l0", "weight_ih_l0_reverse"] if rnn.bidirectional else ["weight_ih_l0"]
