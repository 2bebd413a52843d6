"""Activation ranges: what flows into and out of every product of a model with a weight.

Observed on the task's own texts. A product is named after its weight
(``bert.encoder.layer.0.output.dense``). Where one weight is used several times in a forward pass
(layers that share weights), the second use is ``name#1``, the third ``name#2``: each has a range of
its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Ranges = dict[str, dict[str, Any]]
"""Product -> ``input`` and ``output``, each ``[low, high]``; ``clip`` where quantization-aware training learned one."""

FIELD = "imbik_ranges"
"""Field of ``config.json`` that the ranges of a quantized checkpoint travel in."""

_BINS = 8192
"""Bins between the least and the greatest value: a cut at 99.9 % is right to about a ten-thousandth of the range."""


class Products(TorchFunctionMode):
    """Mode in which a given function computes every product with a weight of ``model``.

    ``replace(name, x, weight, bias)`` stands for ``x Wᵀ + b``, W a matrix parameter.
    """

    def __init__(self, model: nn.Module, replace: Callable[[str, Tensor, Tensor, Tensor | None], Tensor]) -> None:
        super().__init__()
        # By identity: a parameter that is shared keeps one name, whichever module uses it.
        self.names = {id(p): name.removesuffix(".weight") for name, p in model.named_parameters() if p.ndim == 2}
        self.model = model
        self.replace = replace
        self.uses = Counter[str]()

    def __enter__(self) -> Products:
        def restart(module: nn.Module, args: tuple[Any, ...]) -> None:
            self.uses.clear()  # the uses of a weight are counted anew in every forward pass

        self.hook = self.model.register_forward_pre_hook(restart)
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.hook.remove()
        super().__exit__(*error)

    def __torch_function__(
        self, func: Callable[..., Any], types: Collection[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
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
    """Bring the arguments of ``linear``, positional or named, into one order."""
    return input, weight, bias


def ranges_of(model: PreTrainedModel) -> Ranges:
    """Return the ranges that a checkpoint carries; empty for one that was not calibrated."""
    return dict(getattr(model.config, FIELD, None) or {})


def set_ranges(model: PreTrainedModel, ranges: Ranges) -> None:
    """Write the ranges into a model's config.

    An empty mapping removes those of an earlier quantization.
    """
    if ranges:
        setattr(model.config, FIELD, ranges)
    elif hasattr(model.config, FIELD):
        delattr(model.config, FIELD)


def trace_products(model: nn.Module, inputs: Mapping[str, Tensor]) -> tuple[list[tuple[str, NDArray[np.float32]]], dict[str, str]]:
    """List the products of one forward pass in their order, and which read the same tensor.

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
class Range:
    """Least and greatest value seen, and how often each part of that range occurs.

    The second needs a pass of its own, once the ends are known.
    """

    low: float = float("inf")
    high: float = float("-inf")
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, dtype=np.int64))

    def widen(self, values: Tensor) -> None:
        """Take the least and greatest of some values in."""
        low, high = torch.aminmax(values)
        self.low, self.high = min(self.low, float(low)), max(self.high, float(high))

    def count(self, values: Tensor) -> None:
        """Count some values into the bins of the range."""
        if self.high > self.low:
            self.counts += torch.histc(values.float(), _BINS, self.low, self.high).numpy().astype(np.int64)

    def cut(self, percentile: float) -> list[float]:
        """Return the range that holds the central ``percentile`` % of all values.

        Both tails lose alike.
        """
        total = self.counts.sum()
        if percentile >= 100.0 or total == 0:
            return [self.low, self.high]
        # Half of what is cut falls off on either side.
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
    data, model = draw_rows(checkpoint, examples, samples, seed), checkpoint.model
    ranges: dict[str, dict[str, Range]] = {}
    # Counting needs the ends of the range, which are known after all texts were seen once.
    passes = 1 if percentile >= 100.0 else 2
    with progress.track("calibrating", passes * len(data)) as bar:
        for number in range(passes):
            for rows in sorted_batches(data.lengths, 2048):
                _observe(model, model_inputs(to_batch(data, rows)), ranges, count=number == 1)
                bar.advance(len(rows))
    return {name: {side: observed.cut(percentile) for side, observed in sides.items()} for name, sides in ranges.items()}


def draw_rows(checkpoint: Checkpoint, examples: Examples, samples: int, seed: int) -> Encoded:
    """Draw ``samples`` rows by the seed, and encode them."""
    rows = np.random.default_rng(seed).permutation(len(examples.texts))[:samples].tolist()
    pairs = None if examples.pairs is None else [examples.pairs[row] for row in rows]
    return encode(Examples([examples.texts[row] for row in rows], pairs, None, ""), checkpoint.tokenizer)


def _observe(model: nn.Module, inputs: Mapping[str, Tensor], ranges: dict[str, dict[str, Range]], *, count: bool) -> None:
    """Let the ranges of all products see one batch: widen them, or count into their bins."""
    real = inputs["attention_mask"].bool()

    def note(name: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        y: Tensor = nn.functional.linear(x, weight, bias)
        sides = ranges.setdefault(name, {"input": Range(), "output": Range()})
        for side, values in (("input", x), ("output", y)):
            # (B, T, H) -> (tokens, H) without padding; what the pooler sees, (B, H), has none.
            seen = values[real] if values.shape[:-1] == real.shape else values
            sides[side].count(seen) if count else sides[side].widen(seen)
        return y

    model.eval()
    with torch.inference_mode(), Products(model, note):
        model(**inputs)
