"""The start of quantization-aware training: ranges narrowed while that helps the logits.

A range that covers one large value leaves few integers to all others, and what the large value is
worth shows only in the model's output. So each range is tried alone, by halves, on texts of the
task, in the order in which the model computes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from imbik.jobs.progress import Progress
from imbik.models.inputs import read_outputs
from imbik.quantization.fake_quant import FakeQuantizer
from imbik.tasks.outputs import Output

_HALVINGS = 7
"""Halvings tried at most: what is left of 8 bits then is one."""

_PATIENCE = 2
"""Halvings in a row without a gain that end the search: a single one may be an accident of rounding."""


@torch.no_grad()
def narrow(
    quantizer: FakeQuantizer,
    model: nn.Module,
    inputs: Mapping[str, Tensor],
    progress: Progress,
    kinds: Sequence[Output] = (Output(),),
) -> tuple[float, float]:
    """Set starting ranges and weight shares to those with the least error of the logits.

    Each is halved until two halvings in a row gain nothing: first the share of a product's weight
    that its scale covers, then both ends of its input's range. Products are visited once, in their
    order.

    Args:
        quantizer: its ``start`` and ``covered`` change in place.
        model: the float model.
        inputs: a batch of texts that the model learned from.
        progress: where the work is shown.
        kinds: what the model's task asks of it.

    Returns:
        Mean squared error of the logits against the float model's, before and after.
    """
    model.eval()
    # The float model is the reference: narrowing needs no labels.
    exact = _numbers(model, inputs, kinds)

    def error() -> float:
        with quantizer.quantized(model):
            return float((_numbers(model, inputs, kinds) - exact).square().mean())

    before = best = error()
    searched: dict[tuple[int, int], tuple[Tensor, int]] = {}
    for name in quantizer.same:
        # Products that share a weight or an input share the entry: it is searched once.
        for tensor, index in ((quantizer.covered, quantizer.weight[name]), (quantizer.start, quantizer.group[name])):
            searched.setdefault((id(tensor), index), (tensor, index))
    with progress.track("narrowing ranges", len(searched)) as bar:
        for tensor, index in searched.values():
            best = _halved(tensor, index, error, best)
            bar.advance(1)
    return before, best


def _numbers(model: nn.Module, inputs: Mapping[str, Tensor], kinds: Sequence[Output]) -> Tensor:
    """Return all that the model computes for a batch, in one row; nothing of padding."""
    outputs = read_outputs(model(**inputs), kinds)
    tensors = list(outputs.values()) if isinstance(outputs, Mapping) else [outputs]
    real = inputs["attention_mask"].bool()
    return torch.cat([(one[real] if kind.per_token else one).flatten() for kind, one in zip(kinds, tensors, strict=True)])


def _halved(tensor: Tensor, index: int, error: Callable[[], float], best: float) -> float:
    """Halve one range or share until that gains nothing; return the least error."""
    kept = tensor[index].clone()
    since = 0
    for _ in range(_HALVINGS):
        tensor[index] *= 0.5
        now = error()
        since += 1
        if now < best:
            best = now
            kept = tensor[index].clone()
            since = 0
        elif since == _PATIENCE:
            break
    tensor[index] = kept
    return best
