"""Activation ranges: what flows into and out of every product of a model with a weight, observed on the task's own texts.

A product is named after its weight (``bert.encoder.layer.0.output.dense``). Where one weight is used several times in a forward pass
(layers that share weights), the second use is ``name#1``, the third ``name#2``: each has a range of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from imbik.data.batches import sorted_batches
from imbik.jobs.progress import Progress
from imbik.training.encoding import Encoded, encode
from imbik.training.prediction import model_inputs, to_batch
from imbik.types import Checkpoint, Examples

Ranges = dict[str, dict[str, Any]]
"""Product -> ``input`` and ``output``, each ``[low, high]``; ``clip`` where quantization-aware training learned one."""

FIELD = "imbik_ranges"
"""Field of ``config.json`` that the ranges of a quantized checkpoint travel in."""

_BINS = 8192


class Products(TorchFunctionMode):
    """Inside, ``replace(name, x, weight, bias)`` computes every product ``x Wᵀ + b`` with a parameter of ``model``."""

    def __init__(self, model: nn.Module, replace: Callable[[str, Tensor, Tensor, Tensor | None], Tensor]) -> None:
        super().__init__()
        self.names = {id(p): name.removesuffix(".weight") for name, p in model.named_parameters() if p.ndim == 2}
        self.model, self.replace, self.uses = model, replace, Counter[str]()

    def __enter__(self) -> Products:
        def restart(module: nn.Module, args: Any) -> None:
            self.uses.clear()  # the uses of a weight are counted anew in every forward pass

        self.hook = self.model.register_forward_pre_hook(restart)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.hook.remove()
        super().__exit__(*error)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not nn.functional.linear:
            return func(*args, **kwargs)
        x, weight, bias = _arguments(*args, **kwargs)
        name = self.names.get(id(weight))
        if name is None:
            return func(*args, **kwargs)
        use = self.uses[name]
        self.uses[name] += 1
        return self.replace(f"{name}#{use}" if use else name, x, weight, bias)


def _arguments(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
    return input, weight, bias


def ranges_of(model: Any) -> Ranges:
    """The ranges that a checkpoint carries; empty for one that was not calibrated."""
    return dict(getattr(model.config, FIELD, None) or {})


def set_ranges(model: Any, ranges: Ranges) -> None:
    """Write the ranges into a model's config; an empty mapping removes those of an earlier quantization."""
    if ranges:
        setattr(model.config, FIELD, ranges)
    elif hasattr(model.config, FIELD):
        delattr(model.config, FIELD)


def uses(model: Any, inputs: Mapping[str, Tensor]) -> tuple[list[tuple[str, NDArray[np.float32]]], dict[str, str]]:
    """The products of one forward pass in their order, and which of them read the same tensor.

    Returns:
        ``(name, weight (N, K))`` of each, and name -> first product that reads the same input.
    """
    order: list[tuple[str, NDArray[np.float32]]] = []
    first: dict[int, str] = {}
    same: dict[str, str] = {}
    alive: list[Tensor] = []  # an id is a tensor's own only as long as the tensor lives

    def note(name: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        order.append((name, weight.detach().cpu().numpy()))
        alive.append(x)
        same[name] = first.setdefault(id(x), name)
        return nn.functional.linear(x, weight, bias)

    with torch.no_grad(), Products(model, note):
        model(**inputs)
    return order, same


@dataclass
class _Range:
    """Least and greatest value seen, and in a second pass how often each part of that range occurs."""

    low: float = float("inf")
    high: float = float("-inf")
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, dtype=np.int64))

    def widen(self, values: Tensor) -> None:
        low, high = torch.aminmax(values)
        self.low, self.high = min(self.low, float(low)), max(self.high, float(high))

    def count(self, values: Tensor) -> None:
        if self.high > self.low:
            self.counts += torch.histc(values.float(), _BINS, self.low, self.high).numpy().astype(np.int64)

    def cut(self, percentile: float) -> list[float]:
        """The range that holds the central ``percentile`` % of all values; both tails lose alike."""
        total = self.counts.sum()
        if percentile >= 100.0 or total == 0:
            return [self.low, self.high]
        outside = total * (1 - percentile / 100) / 2
        width = (self.high - self.low) / _BINS
        below = int(np.searchsorted(np.cumsum(self.counts), outside, side="right"))
        above = int(np.searchsorted(np.cumsum(self.counts[::-1]), outside, side="right"))
        return [self.low + below * width, self.high - above * width]


def calibrate(checkpoint: Checkpoint, examples: Examples, *, samples: int, percentile: float, seed: int, progress: Progress) -> Ranges:
    """Observe every product on texts of the task.

    Args:
        checkpoint: the float model.
        examples: rows to draw from: those that the model learned from, never dev or test.
        samples: rows drawn.
        percentile: share of the values, in %, that the range must hold; 100: all of them (min-max).
        seed: of the draw.
        progress: where the work is shown.

    Returns:
        Ranges of float32 precision. Padding is not observed.
    """
    data, model = drawn(checkpoint, examples, samples, seed), checkpoint.model
    found: dict[str, dict[str, _Range]] = {}
    passes = 1 if percentile >= 100.0 else 2
    with progress.track("calibrating", passes * len(data)) as bar:
        for number in range(passes):
            for rows in sorted_batches(data.lengths, 2048):
                _observe(model, model_inputs(to_batch(data, rows)), found, count=number == 1)
                bar.advance(len(rows))
    return {name: {side: one.cut(percentile) for side, one in sides.items()} for name, sides in found.items()}


def drawn(checkpoint: Checkpoint, examples: Examples, samples: int, seed: int) -> Encoded:
    """``samples`` rows, drawn by the seed and encoded."""
    rows = np.random.default_rng(seed).permutation(len(examples.texts))[:samples].tolist()
    pairs = None if examples.pairs is None else [examples.pairs[row] for row in rows]
    return encode(Examples([examples.texts[row] for row in rows], pairs, None, ""), checkpoint.tokenizer)


def _observe(model: nn.Module, inputs: Mapping[str, Tensor], found: dict[str, dict[str, _Range]], *, count: bool) -> None:
    real = inputs["attention_mask"].bool()

    def note(name: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        y: Tensor = nn.functional.linear(x, weight, bias)
        sides = found.setdefault(name, {"input": _Range(), "output": _Range()})
        for side, values in (("input", x), ("output", y)):
            seen = values[real] if values.shape[:-1] == real.shape else values
            sides[side].count(seen) if count else sides[side].widen(seen)
        return y

    model.eval()
    with torch.inference_mode(), Products(model, note):
        model(**inputs)
