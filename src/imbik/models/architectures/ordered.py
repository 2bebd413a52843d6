"""Students that know the order of their pieces: gated convolutions or LSTMs over the vectors, below the pooling of a bag."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from imbik.models.architectures.pooled import BagConfig, PooledModel, attend, weights_of
from imbik.models.architectures.registry import architecture

_FAR = 1e4
"""Taken from what is padding before a maximum: below all that a feature reaches."""


class ConvConfig(BagConfig):
    """Numbers of gated convolutions below the same pooling.

    Args:
        num_hidden_layers: convolutions, one above the other.
        filters: f, what each of them gives for a piece.
        kernel_size: k, the odd number of neighboring pieces that one reads.
        separable: whether a neighbor counts by one weight a channel, or by a matrix of its own.
        more: see :class:`BagConfig`.
    """

    model_type = "imbik_conv"

    def __init__(self, num_hidden_layers: int = 1, filters: int = 128, kernel_size: int = 5, separable: bool = True, **more: Any) -> None:
        self.filters = filters
        self.kernel_size = kernel_size
        self.separable = separable
        super().__init__(**{"num_hidden_layers": num_hidden_layers} | more)

    @property
    def features(self) -> int:
        """Numbers that the last layer gives for a piece."""
        return self.filters


class LstmConfig(BagConfig):
    """Numbers of bidirectional LSTMs below the same pooling.

    Args:
        num_hidden_layers: LSTMs, one above the other.
        state_size: u, what each direction gives for a piece.
        more: see :class:`BagConfig`.
    """

    model_type = "imbik_lstm"

    def __init__(self, num_hidden_layers: int = 1, state_size: int = 64, **more: Any) -> None:
        self.state_size = state_size
        super().__init__(**{"num_hidden_layers": num_hidden_layers} | more)

    @property
    def features(self) -> int:
        """Numbers that the last layer gives for a piece."""
        return 2 * self.state_size


class GatedConvolution(nn.Module):  # type: ignore[misc]
    """A convolution that closes a gate on each of its features.

    [a, g] = u W + b and y = a ⊙ σ(g) (Dauphin et al. 2017, arXiv 1612.08083). u_t are the k neighbors x_(t+j) side by side, or,
    depthwise-separable (Chollet 2017, arXiv 1610.02357), Σ_j w_j ⊙ x_(t+j) with one weight a channel: a k-th of the products, but then
    all neighbors are read by one matrix.

    Args:
        width: channels of its input.
        filters: channels of its output.
        kernel: k.
        separable: whether a neighbor has one weight a channel.
    """

    def __init__(self, width: int, filters: int, kernel: int, separable: bool) -> None:
        super().__init__()
        self.kernel = kernel
        self.taps = nn.Parameter(torch.empty(kernel, width)) if separable else None
        self.mix = nn.Linear(width if separable else kernel * width, 2 * filters)

    def begin(self) -> None:
        """Draw the weights."""
        if self.taps is not None:
            nn.init.normal_(self.taps, std=self.kernel**-0.5)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        """Return ``(B, T, f)`` of ``(B, T, d)``, both zero where ``keep``, ``(B, T, 1)``, is: at padding."""
        side = self.kernel // 2
        # zeros beyond both ends of the text, then k views that are shifted by a piece each: no Conv1d, so that `mix` is a product like
        # any other, which every method and every engine can take to int8
        padded = nn.functional.pad(x, (0, 0, side, side))
        shifted = [padded[:, j : j + x.shape[1]] for j in range(self.kernel)]
        if self.taps is None:
            near = torch.cat(shifted, dim=-1)
        else:
            near = torch.stack([one * tap for one, tap in zip(shifted, self.taps, strict=True)]).sum(0)
        value, gate = self.mix(near).chunk(2, dim=-1)
        return torch.as_tensor(value * torch.sigmoid(gate) * keep)


class BothWays(nn.Module):  # type: ignore[misc]
    """An LSTM that reads a text from both ends, each from where the text begins for it, wherever there is padding.

    [i, f, g, o] = W [x_t ; 1] + U h, c = σ(f) ⊙ c + σ(i) ⊙ tanh(g), h = σ(o) ⊙ tanh(c) (Hochreiter, Schmidhuber 1997; forget gates:
    Gers et al. 2000). The bias is the column of W beside the 1, which is 0 at padding, as x is: then g is 0 too, and c and h stay the
    zeros that they begin as until the first piece comes. So no lengths are needed, and every engine has the operator as it is.

    Args:
        width: d of its input.
        state: u of each direction.
    """

    def __init__(self, width: int, state: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width + 1, state, batch_first=True, bidirectional=True, bias=False)

    def begin(self) -> None:
        """Draw the weights as Glorot and Bengio (2010), those of the states orthogonal.

        Forget gates begin open (Jozefowicz et al. 2015).
        """
        state = self.lstm.hidden_size
        for name, weight in self.lstm.named_parameters():
            # gates in PyTorch's order: input, forget, cell, output
            for gate in weight.split(state):
                (nn.init.orthogonal_ if "_hh_" in name else nn.init.xavier_uniform_)(gate)
            if "_ih_" in name:
                nn.init.zeros_(weight[:, -1])
                nn.init.ones_(weight[state : 2 * state, -1])

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        """Return ``(B, T, 2 u)`` of ``(B, T, d)``, both zero where ``keep``, ``(B, T, 1)``, is: at padding."""
        states, _ = self.lstm(torch.cat([x, keep], dim=-1))
        return torch.as_tensor(states * keep)


class OrderedModel(PooledModel):
    """What convolutions and LSTMs share: the queries pool the features of the last one, beside the vectors and each feature's maximum."""

    def complete(self) -> None:
        """Add what the queries think of the features, and draw the weights."""
        self.score = nn.Linear(self.config.features, self.config.num_attention_heads)
        self.post_init()

    @property
    def widths(self) -> list[int]:
        """Numbers that each layer reads for a piece."""
        return [self.config.hidden_size, *[self.config.features] * (self.config.num_hidden_layers - 1)]

    @property
    def pooled_width(self) -> int:
        """Numbers that the head reads."""
        return int(self.config.hidden_size + 2 * self.config.features)

    def _init_weights(self, module: nn.Module) -> None:
        """Draw the weights of a new model; the queries begin without a preference."""
        super()._init_weights(module)
        if isinstance(module, (GatedConvolution, BothWays)):
            module.begin()
        elif module is self._modules["score"]:
            nn.init.zeros_(self.score.weight)

    def pool(self, vectors: Tensor, scores: Tensor, keep: Tensor) -> Tensor:
        """Return means of vectors and features, and maxima of these: ``(B, d + 2 f)``."""
        features = vectors
        for number, layer in enumerate(self.layers):
            found = layer(features, keep)
            features = found + features if number else found
        weights = weights_of(scores + self.score(features), keep)
        largest = (features + (keep - 1.0) * _FAR).amax(1)
        return torch.cat([attend(vectors, weights), attend(features, weights), largest], dim=-1)


@architecture(ConvConfig, "SequenceClassification")
class ConvForSequenceClassification(OrderedModel):
    """Gated convolutions over the piece vectors."""

    config_class = ConvConfig

    def __init__(self, config: ConvConfig) -> None:
        super().__init__(config)
        # the name under which folders hold them
        filters, kernel, separable = config.filters, config.kernel_size, config.separable
        self.convolutions = nn.ModuleList(GatedConvolution(width, filters, kernel, separable) for width in self.widths)
        self.complete()

    @property
    def layers(self) -> nn.ModuleList:
        """Return the convolutions."""
        return self.convolutions


@architecture(LstmConfig, "SequenceClassification")
class LstmForSequenceClassification(OrderedModel):
    """LSTMs from both ends over the piece vectors."""

    config_class = LstmConfig

    def __init__(self, config: LstmConfig) -> None:
        super().__init__(config)
        self.layers = nn.ModuleList(BothWays(width, config.state_size) for width in self.widths)
        self.complete()
