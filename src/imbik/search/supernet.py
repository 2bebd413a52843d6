"""The supernet: one set of weights from which every architecture of a space can be cut.

Heads and units are sorted by importance once, so that a narrower block is a prefix of a wider one; a sub-network runs on slices of the
same matrices (Yu et al. 2019, arXiv 1812.08928; Cai et al. 2020, arXiv 1908.09791; for BERT Hou et al. 2020, arXiv 2004.04037).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imbik.errors import UserError
from imbik.factorization.moments import count_uses
from imbik.models.blocks import Block, layer_stack
from imbik.models.hooks import put_everywhere
from imbik.pruning.cuts import cut, prunable
from imbik.pruning.depth import keep_layers, removable
from imbik.pruning.importance import importance
from imbik.pruning.table import Architecture
from imbik.search.space import Space
from imbik.training.context import Context
from imbik.training.encoding import Encoded, encode_for
from imbik.training.probes import sample, targets_of
from imbik.types import Checkpoint, Examples

TEXTS = 512
"""Train texts by which heads and units are sorted."""


class ElasticLinear(nn.Linear):  # type: ignore[misc]
    """Linear that may run on the first of its rows or columns; its parameters are those of the Linear that it was made of.

    Attributes:
        rows, columns: which are used; None: all.
    """

    def __init__(self, linear: nn.Linear) -> None:
        # not the constructor of Linear: it would draw new weights
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.rows: Tensor | slice | None = None
        self.columns: slice | None = None

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight, self.bias
        # slices are views: the gradient falls into the whole matrix
        if self.columns is not None:
            weight = weight[:, self.columns]
        if self.rows is not None:
            weight, bias = weight[self.rows], None if bias is None else bias[self.rows]
        return F.linear(x, weight, bias)


@dataclass(frozen=True)
class Supernet:
    """A model whose layers, heads and units can be chosen at every forward pass.

    Attributes:
        checkpoint: the model, with elastic matrices.
        start: the same model as it began, with plain ones: what students are cut from.
        blocks: of the whole model; two for every layer.
        space: what may be chosen.
    """

    checkpoint: Checkpoint
    start: Checkpoint
    blocks: tuple[Block, ...]
    space: Space

    @classmethod
    def of(cls, checkpoint: Checkpoint, context: Context) -> Supernet:
        """Make the supernet of a model, which it equals as a whole.

        Args:
            checkpoint: not changed.
            context: of the step: texts and labels for the importance of heads and units (Fisher).

        Raises:
            UserError: an architecture whose heads, units or layers cannot be taken away.
        """
        model = copy.deepcopy(checkpoint.model)
        blocks = prunable(model)
        depth = len(layer_stack(model)[1])
        uses = count_uses(model, {b.writer: model.get_submodule(b.writer) for b in blocks}, _texts(checkpoint, context)[1])
        counts = {kind: {b.count for b in blocks if b.kind == kind} for kind in ("heads", "units")}
        if len(blocks) != 2 * depth or set(uses.values()) != {1} or any(len(count) != 1 for count in counts.values()):
            raise UserError(
                "a supernet needs layers that are alike, with weights of their own and heads and units that can be taken away",
                where="search",
                found=type(model).__name__,
                expected="an encoder such as BERT, DistilBERT, RoBERTa, ELECTRA or ModernBERT",
            )
        # asked before anything is changed: shared layers are refused here
        fixed = sorted(set(range(depth)) - set(removable(model)))
        _sort(model, blocks, checkpoint, context)
        start = replace(checkpoint, model=copy.deepcopy(model))
        for block in blocks:
            for path in (*block.readers, block.writer):
                put_everywhere(model, path, ElasticLinear(model.get_submodule(path)))
        space = Space.of(depth, counts["heads"].pop(), counts["units"].pop(), fixed)
        return cls(replace(checkpoint, model=model), start, tuple(blocks), space)

    @contextmanager
    def active(self, chosen: Architecture) -> Iterator[None]:
        """Context manager: the model runs as this sub-network."""
        model = self.checkpoint.model
        name, stack = layer_stack(model)
        kept = self._kept(chosen)
        try:
            for block in self.blocks:
                if block.layer in chosen.layers:
                    self._narrow(block, kept[block.writer])
            put_everywhere(model, name, nn.ModuleList([stack[place] for place in chosen.layers]))
            yield
        finally:
            # by identity: an error may come before the stack was exchanged
            if layer_stack(model)[1] is not stack:
                put_everywhere(model, name, stack)
            for block in self.blocks:
                self._narrow(block, None)

    def student(self, chosen: Architecture) -> Checkpoint:
        """Return the sub-network as a model of its own, with matrices of its own size."""
        model = copy.deepcopy(self.start.model)
        # an elastic matrix has the names of a plain one
        model.load_state_dict(self.checkpoint.model.state_dict())
        keep_layers(model, chosen.layers)
        kept = self._kept(chosen)
        wanted = [kept[block.writer] for block in self.blocks if block.layer in chosen.layers]
        blocks = prunable(model)
        cut(model, blocks, {b.writer: np.arange(count) for b, count in zip(blocks, wanted, strict=True)})
        return replace(self.start, model=model.eval())

    def _kept(self, chosen: Architecture) -> dict[str, int]:
        """Return how many heads or units every block that stays keeps, by writer."""
        counts = {
            "heads": dict(zip(chosen.layers, chosen.heads, strict=True)),
            "units": dict(zip(chosen.layers, chosen.units, strict=True)),
        }
        return {block.writer: counts[block.kind][block.layer] for block in self.blocks if block.layer in chosen.layers}

    def _narrow(self, block: Block, count: int | None) -> None:
        """Let a block run on its first ``count`` heads or units; None: on all."""
        model = self.checkpoint.model
        whole, width = block.count * block.size, None if count is None else count * block.size
        # a fused matrix holds its parts one below the other: the first rows of each
        rows: Tensor | slice | None = None if width is None else slice(width)
        if width is not None and block.parts > 1:
            rows = torch.cat([part * whole + torch.arange(width) for part in range(block.parts)])
        for path in block.readers:
            model.get_submodule(path).rows = rows
        model.get_submodule(block.writer).columns = None if width is None else slice(width)


def _texts(checkpoint: Checkpoint, context: Context) -> tuple[Examples, Encoded]:
    rows = sample(context.splits.train, TEXTS, context.seed)
    return rows, encode_for(checkpoint.task, rows, checkpoint.tokenizer)


@torch.no_grad()
def _sort(model: nn.Module, blocks: Sequence[Block], checkpoint: Checkpoint, context: Context) -> None:
    """Put the most important heads and units of every block first: the same function, its parts in another order."""
    rows, data = _texts(checkpoint, context)
    with torch.enable_grad():
        scores = importance("fisher", model, blocks, data, targets_of(rows, data, context), checkpoint.task)
    for block in blocks:
        order = torch.from_numpy(np.argsort(-scores[block.writer], kind="stable").copy())
        columns = (order[:, None] * block.size + torch.arange(block.size)).flatten()
        whole = block.count * block.size
        # every part of a fused matrix in the same order
        places = torch.cat([part * whole + columns for part in range(block.parts)])
        for path in block.readers:
            reader = model.get_submodule(path)
            reader.weight.copy_(reader.weight[places])
            if reader.bias is not None:
                reader.bias.copy_(reader.bias[places])
        writer = model.get_submodule(block.writer)
        writer.weight.copy_(writer.weight[:, columns])
