"""What heads and units cost: operations, parameters, or milliseconds by a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

from imbik.errors import UserError
from imbik.factorization.moments import count_uses
from imbik.models.blocks import Block, layer_stack
from imbik.pruning.allocation import Costs
from imbik.pruning.table import CostFile, Shape
from imbik.training.encoding import Encoded

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


class Prices(Protocol):
    """What heads and units cost, in one measure."""

    @property
    def measure(self) -> str:
        """Name of the measure, for a note."""

    def check(self, model: nn.Module, blocks: Sequence[Block]) -> None:
        """Refuse a model whose parts have no known price, before anything is cut."""

    def of(self, model: nn.Module, blocks: Sequence[Block], data: Encoded) -> Costs:
        """Return what blocks cost, as :func:`costs_of`."""

    def fixed(self, model: nn.Module) -> float:
        """Return what the model costs beside its heads and units."""


@dataclass(frozen=True)
class Counted:
    """Operations or parameters, counted; what is not a head or unit does not count."""

    measure: Measure

    def check(self, model: nn.Module, blocks: Sequence[Block]) -> None:
        """Take every model."""

    def of(self, model: nn.Module, blocks: Sequence[Block], data: Encoded) -> Costs:
        """Return what blocks cost for texts of the mean length of ``data``."""
        uses = count_uses(model, {block.writer: model.get_submodule(block.writer) for block in blocks}, data)
        return costs_of(model, blocks, self.measure, uses, float(data.lengths.mean()))

    def fixed(self, model: nn.Module) -> float:
        """Return 0."""
        return 0.0


@dataclass(frozen=True)
class Timed:
    """Milliseconds of a request by a table that ``imbik search`` measured.

    Attributes:
        kept: the table and what it was measured of.
        where: its file, for messages.
    """

    kept: CostFile
    where: str
    measure: str = "milliseconds"

    def check(self, model: nn.Module, blocks: Sequence[Block]) -> None:
        """Refuse a model of another shape.

        Raises:
            UserError: as said.
        """
        self.kept.check(shape_of(model, blocks), self.where, pieces=False)

    def of(self, model: nn.Module, blocks: Sequence[Block], data: Encoded) -> Costs:
        """Return what blocks cost above the narrowest that was measured."""
        # places among the layers that are left: the last of them is cheaper, whichever it was
        layers = len(layer_stack(model)[1])
        return {b.writer: self.kept.table.block_ms(b.kind, b.layer, layers)[: b.count + 1] for b in blocks}

    def fixed(self, model: nn.Module) -> float:
        """Return what a request of the narrowest model of this depth takes."""
        return self.kept.table.fixed_ms(len(layer_stack(model)[1]))


def shape_of(model: nn.Module, blocks: Sequence[Block]) -> Shape:
    """Return what a table of costs is one of.

    Args:
        model: the whole model.
        blocks: those of it that can be cut.

    Raises:
        UserError: layers that are not alike, or whose heads or units cannot be cut.
    """
    layers = len(layer_stack(model)[1])
    counts = {kind: {block.count for block in blocks if block.kind == kind} for kind in ("heads", "units")}
    if len(blocks) != 2 * layers or any(len(count) != 1 for count in counts.values()):
        raise UserError(
            "a table of costs needs layers that are alike, with weights of their own and heads and units that can be taken away",
            found=type(model).__name__,
            expected="an encoder such as BERT, DistilBERT, RoBERTa, ELECTRA or ModernBERT",
        )
    config = model.config
    return Shape(
        str(config.model_type), int(config.hidden_size), layers, counts["heads"].pop(), counts["units"].pop(), int(config.vocab_size)
    )
