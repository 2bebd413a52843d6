"""Least-squares repair: what is left of every block writes again what the whole block wrote, as well as it can, without training.

Block by block from the first layer on, with the tokens as they come out of the blocks that are repaired already: the sum that stood
behind the block in the whole model is the target, so that what earlier blocks missed is made good as far as later ones can.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn

from imbik.factorization.moments import count_uses, token_batches
from imbik.jobs.progress import Task as Bar
from imbik.models.blocks import Block, blocks_of, layer_stack
from imbik.models.hooks import Tap, capture, evaluating
from imbik.training.encoding import Encoded
from imbik.training.prediction import model_inputs, to_batch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Repair = Literal["matrices", "masks", "none"]

MOST_TOKENS = 16384
"""Tokens of the texts that are looked at, drawn at random where there are more: what bounds the memory of the targets."""

_RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""How strongly a matrix is held to what it was, as shares of the mean of its inputs' squares."""

_HELD = 5
"""Every fifth text only chooses the ridge."""


@dataclass(frozen=True)
class Reference:
    """What a whole model gave, to be given again.

    Attributes:
        data: the texts.
        sums: writer -> ``(tokens of all its runs, H)``, what it wrote and the residual that it was added to.
        residual: writer -> where the states are read whose sum is that residual, from the block's layer on.
    """

    data: Encoded
    sums: Mapping[str, Tensor]
    residual: Mapping[str, tuple[_Source, ...]]


@torch.no_grad()
def reference(model: PreTrainedModel, blocks: Sequence[Block], data: Encoded) -> Reference:
    """Run the whole model on the texts and keep what stood behind every block."""
    with evaluating(model):
        uses = count_uses(model, {block.writer: model.get_submodule(block.writer) for block in blocks}, data)
        residual = {block.writer: _residual(model, block, data) if uses[block.writer] == 1 else () for block in blocks}
        sums: dict[str, list[Tensor]] = {block.writer: [] for block in blocks}
        for runs in _passes(model, blocks, residual, data):
            for block in blocks:
                sums[block.writer] += [run.total for run in runs[block.writer]]
    return Reference(data, {writer: torch.cat(parts) for writer, parts in sums.items()}, residual)


@torch.no_grad()
def repair(model: PreTrainedModel, blocks: Sequence[Block], known: Reference, kind: Repair, bar: Bar | None = None) -> int:
    """Repair the writers of all blocks in place; return how many came nearer to what they should give.

    ``matrices``: W and b with the least E‖W x + b - t‖² + λ‖(W, b) - (W, b)₀‖², the whole matrix. ``masks``: one factor for each
    head or unit, as Kwon et al. (2022, section 4.4) tune their masks. λ is chosen by writer on texts that the equations did not see;
    where no λ brings the sum nearer there, the writer stays as it is.

    Args:
        blocks: of the cut model, in the order of those that ``known`` was taken of.
        bar: shows progress, a step for every block.
    """
    # in the order in which they run: a block reads what the repaired ones before it give
    repaired = 0
    with evaluating(model):
        for block, name in zip(blocks, known.sums, strict=True):
            change = _solved(model, block, known, name, kind)
            if change is not None:
                _apply(model.get_submodule(block.writer), block, change, kind)
                repaired += 1
            if bar is not None:
                bar.advance(1)
    return repaired


class _Sums:
    """Normal equations of a linear least-squares problem: G = Σ f fᵀ and C = Σ f rᵀ of features f and what is missing, r."""

    def __init__(self, features: int, outputs: int) -> None:
        self.gram = torch.zeros(features, features, dtype=torch.float64)
        self.cross = torch.zeros(features, outputs, dtype=torch.float64)

    def plus(self, other: _Sums) -> _Sums:
        both = _Sums(*self.cross.shape)
        both.gram, both.cross = self.gram + other.gram, self.cross + other.cross
        return both

    def solve(self, ridge: float) -> Tensor:
        """Return the D ``(features, outputs)`` with the least Σ‖Dᵀ f - r‖² + λ‖D‖²."""
        # relative to the inputs: one list of ridges fits every block
        level = ridge * self.gram.diagonal().mean().clamp_min(1e-12)
        return torch.linalg.solve(self.gram + level * torch.eye(len(self.gram), dtype=torch.float64), self.cross)

    def gain(self, change: Tensor) -> float:
        """Return by how much Σ‖r‖² falls where ``change`` is made."""
        return float((2 * self.cross * change).sum() - (change * (self.gram @ change)).sum())


def _solved(model: PreTrainedModel, block: Block, known: Reference, name: str, kind: Repair) -> Tensor | None:
    """Return the change of a writer that its texts ask for, None where none helps on the others."""
    writer = model.get_submodule(block.writer)
    learned, held = (_Sums(*_shape(block, writer, kind)) for _ in range(2))
    start = 0
    for runs in _passes(model, [block], {block.writer: known.residual[name]}, known.data):
        for run in runs[block.writer]:
            missing = known.sums[name][start : start + len(run.total)] - run.total
            start += len(run.total)
            for sums, chosen in ((held, run.rows % _HELD == 0), (learned, run.rows % _HELD != 0)):
                _add(sums, block, writer, kind, run.x[chosen].double(), missing[chosen].double())
    best = max(_RIDGES, key=lambda ridge: held.gain(learned.solve(ridge)))
    return learned.plus(held).solve(best) if held.gain(learned.solve(best)) > 0 else None


def _shape(block: Block, writer: nn.Module, kind: Repair) -> tuple[int, int]:
    if kind == "masks":
        return block.count, 1
    return block.count * block.size + (writer.bias is not None), int(writer.out_features)


def _add(sums: _Sums, block: Block, writer: nn.Module, kind: Repair, x: Tensor, missing: Tensor) -> None:
    """Add tokens to the normal equations."""
    if kind == "matrices":
        features = torch.cat([x, x.new_ones(len(x), 1)], dim=1) if writer.bias is not None else x
        sums.gram += features.T @ features
        sums.cross += features.T @ missing
        return
    # a unit's feature is the vector W_u x_u that it writes; products of those need no (tokens, units, H) array:
    # <W_u x_u, W_v x_v> summed over tokens is the sum over u's and v's numbers of (WᵀW) ∘ (Σ x xᵀ)
    weight = writer.weight.double()
    units = (block.count, block.size)
    products = ((weight.T @ weight) * (x.T @ x)).unflatten(0, units).unflatten(-1, units)
    sums.gram += products.sum((1, 3))
    sums.cross += (weight.T * (x.T @ missing)).sum(1).unflatten(0, units).sum(1, keepdim=True)


def _apply(writer: nn.Module, block: Block, change: Tensor, kind: Repair) -> None:
    if kind == "masks":
        writer.weight.mul_((1 + change[:, 0]).repeat_interleave(block.size).float())
        return
    width = block.count * block.size
    writer.weight.add_(change[:width].T.float())
    if writer.bias is not None:
        writer.bias.add_(change[width].float())


_Source = tuple[str, str]
"""A state of a block's layer: whose (``layer``, ``reader``, ``attention``), and what it takes or gives."""

_CANDIDATES: dict[str, tuple[tuple[_Source, ...], ...]] = {
    "heads": ((("layer", "input"),),),
    # behind a norm the units are added to what they read; before one, to the layer's input and what attention wrote
    "units": ((("reader", "input"),), (("layer", "input"), ("attention", "output"))),
}


@dataclass(frozen=True)
class _Run:
    """One run of a writer on a batch, padding and tokens that were not drawn left out.

    Attributes:
        x: ``(tokens, in)``, what it read.
        total: ``(tokens, H)``, what it wrote, and the residual.
        rows: ``(tokens,)``, the text of each token.
    """

    x: Tensor
    total: Tensor
    rows: Tensor


class _EnoughSeen(Exception):
    """The last block that is looked at has run."""


def _passes(
    model: PreTrainedModel, blocks: Sequence[Block], residual: Mapping[str, tuple[_Source, ...]], data: Encoded
) -> Iterator[Mapping[str, list[_Run]]]:
    """Yield what every block's writer read and wrote, batch by batch, always the same tokens in the same order."""
    uses = count_uses(model, {block.writer: model.get_submodule(block.writer) for block in blocks}, data)
    share = MOST_TOKENS / max(int(data.lengths.sum()), 1)
    last, left = blocks[-1], 0

    def stop(_: nn.Module, _inputs: object, _output: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise _EnoughSeen

    for number, batch in enumerate(token_batches(data)):
        # by the number of the batch: the same tokens in every pass
        drawn = torch.rand(batch["attention_mask"].shape, generator=torch.Generator().manual_seed(number)) < share
        keep = batch["attention_mask"].bool() & drawn
        rows = batch["rows"][:, None].expand_as(keep)[keep]
        taps = {block.writer: [_taps(model, block, residual[block.writer], call) for call in range(uses[block.writer])] for block in blocks}
        left = uses[last.writer]
        with capture(model, [tap for runs in taps.values() for run in runs for tap in run]) as seen:
            handle = model.get_submodule(last.writer).register_forward_hook(stop)
            try:
                model(**model_inputs(batch))
            except _EnoughSeen:
                pass
            finally:
                handle.remove()
        yield {
            writer: [_Run(seen[x][keep], sum((seen[tap][keep] for tap in rest), seen[out][keep]), rows) for x, out, *rest in runs]
            for writer, runs in taps.items()
        }


def _taps(model: PreTrainedModel, block: Block, residual: tuple[_Source, ...], call: int) -> list[Tap]:
    """Return where a writer's input and output and its residual's states are read."""
    paths = {"layer": f"{layer_stack(model)[0]}.{block.layer}", "reader": block.readers[0]}
    if any(whose == "attention" for whose, _ in residual):
        paths["attention"] = next(one.writer for one in blocks_of(model) if one.kind == "heads" and one.layer == block.layer)
    states = [Tap(paths[whose], call, "input" if side == "input" else "output") for whose, side in residual]
    return [Tap(block.writer, call, "input"), Tap(block.writer, call), *states]


def _residual(model: PreTrainedModel, block: Block, data: Encoded) -> tuple[_Source, ...]:
    """Return what a block's output is added to, none where that cannot be told.

    A candidate is right where the sum is what a norm of the layer takes, or what the layer gives.
    """
    path = f"{layer_stack(model)[0]}.{block.layer}"
    norms = [name for name, module in model.get_submodule(path).named_modules() if "Norm" in type(module).__name__]
    places = [Tap(path), *(Tap(f"{path}.{name}", side="input") for name in norms)]
    batch = model_inputs(to_batch(data, np.arange(1)))
    for sources in _CANDIDATES[block.kind]:
        if sources[-1][0] == "attention" and not any(one.kind == "heads" and one.layer == block.layer for one in blocks_of(model)):
            continue
        _, out, *states = _taps(model, block, sources, 0)
        with capture(model, [out, *states, *places]) as seen:
            model(**batch)
        # a bottleneck (MobileBERT's) adds to states of another width
        if any(seen[tap].shape != seen[out].shape for tap in states):
            continue
        total = sum((seen[tap] for tap in states), seen[out])
        if any(tap in seen and seen[tap].shape == total.shape and torch.allclose(seen[tap], total, rtol=1e-4, atol=1e-5) for tap in places):
            return sources
    return ()
