"""What heads and units cost: operations or parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from imbik.models.blocks import Block

Measure = Literal["flops", "parameters"]


def costs_of(
    model: nn.Module, blocks: Sequence[Block], measure: Measure, uses: Mapping[str, int], tokens: float
) -> dict[str, NDArray[np.float64]]:
    """Return what a block costs with 0, 1, …, ``count`` heads or units, ``(count + 1,)`` by writer.

    ``flops``: operations per token, 2 · (rows · inputs + columns · outputs) and for a head 4 · T · d more, every time that the block
    runs; ``parameters``: those of its rows and columns, once.

    Args:
        uses: how often a writer runs in one pass of the model.
        tokens: T, the mean length of a text.
    """
    found = {}
    for block in blocks:
        readers = [model.get_submodule(path) for path in block.readers]
        writer = model.get_submodule(block.writer)
        products = block.size * (block.parts * sum(int(reader.in_features) for reader in readers) + int(writer.out_features))
        # the writer's bias is for all units together: it stays whatever goes
        if measure == "parameters":
            one = float(products + block.size * block.parts * sum(reader.bias is not None for reader in readers))
        else:
            # QKᵀ and PV: 2 · T · d each, twice as an addition counts too
            attention = 4.0 * tokens * block.size if block.kind == "heads" else 0.0
            one = (2.0 * products + attention) * uses[block.writer]
        found[block.writer] = one * np.arange(block.count + 1, dtype=np.float64)
    return found
