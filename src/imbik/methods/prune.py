"""Structured pruning: fewer heads, feed-forward units and layers, as matrices that are really smaller."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Gt, Lt
from pydantic import model_validator

from imbik.errors import UserError
from imbik.methods.distill import Distill
from imbik.methods.registry import Method, method
from imbik.methods.stages import in_stages
from imbik.models.blocks import Block, blocks_of, layer_stack
from imbik.pruning.allocation import most_important
from imbik.pruning.budget import Budget
from imbik.pruning.costs import Counted, Measure, Prices, Timed
from imbik.pruning.cuts import cut, prunable
from imbik.pruning.depth import keep_layers, least_missed, removable
from imbik.pruning.importance import Importance, importance
from imbik.pruning.repair import Reference, Repair, reference, repair
from imbik.pruning.table import CostFile
from imbik.training.context import Context
from imbik.training.encoding import Encoded, encode_for
from imbik.training.losses import moved
from imbik.training.prediction import predict_rows
from imbik.training.probes import rest, sample, targets_of
from imbik.training.settings import Count
from imbik.types import Checkpoint, Note

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from imbik.models.teacher import Teacher

PROBE_TEXTS = 128
"""Texts on which it is measured how far the model's answers move."""

Counts = Count | tuple[Count, ...] | None


@dataclass(frozen=True)
class _Whole:
    """What a model was before its first stage.

    Attributes:
        cost: of all its blocks, in the measure of the budget; of milliseconds of the whole model.
        heads, units: how many each of its layers had; of kinds that cannot be cut none.
        layers: its depth.
    """

    cost: float
    heads: tuple[int, ...]
    units: tuple[int, ...]
    layers: int


@method("prune")
class Prune(Method):
    """Remove the attention heads, feed-forward units and layers that the task misses least, and repair the rest by least squares.

    What goes is cut out of the matrices; nothing is masked. With ``budget`` heads and units of all layers share one budget
    by their importance (:func:`imbik.pruning.importance.importance`), as in Kwon et al. (2022, arXiv 2204.09656), and layers may end
    with different widths; ``heads``, ``units`` and ``layers`` say the numbers instead. Which layers go is measured: the one without
    which the model's answers to train texts move least (KL; squared for regression), again and again.

    Then, block by block, what is left writes as nearly as it can what the whole block wrote (:func:`imbik.pruning.repair.repair`).
    Training is a ``distill`` step of its own after this one.

    Attributes:
        budget: share of the cost of all heads and units that may be left; what layers cost that go counts as saved.
        measure: what ``budget`` is a share of: ``flops`` of a text of the mean length, or ``parameters``.
        budget_ms: instead, milliseconds that a request may take by ``table``, all layers and what is around them included.
        table: the ``costs.json`` of a search of the same teacher (:mod:`imbik.pruning.table`).
        layers: how many layers stay, or which, counted from 1.
        heads: how many heads each layer keeps: one number for all, or one for each layer that stays.
        units: the same of feed-forward units.
        importance: ``fisher``, ``taylor``, ``activation`` or ``magnitude``.
        repair: ``matrices`` (all numbers of what writes), ``masks`` (one factor for each head and unit) or ``none``.
        texts: train texts that importance and repair look at.
        multiple: with a budget, units are kept in multiples of it, for the processor's sake.
        alike: with a budget, every layer keeps as many heads and units as the others.
        stages: above 1, the cut is made in that many steps of like ratio with a distillation after each but the last.
        recovery: settings of ``distill`` between the stages.
    """

    budget: Annotated[float, Gt(0), Lt(1)] | None = None
    measure: Measure = "flops"
    budget_ms: Annotated[float, Gt(0)] | None = None
    table: str = ""
    layers: Counts = None
    heads: Counts = None
    units: Counts = None
    importance: Importance = "fisher"
    repair: Repair = "matrices"
    texts: Annotated[int, Ge(2)] = 512
    multiple: Count = 32
    alike: bool = False
    stages: Count = 1
    recovery: dict[str, Any] = field(default_factory=dict)

    @model_validator(mode="after")
    def _one_size(self) -> Prune:
        widths = self.heads is not None or self.units is not None
        if self._budget is not None and widths:
            raise ValueError("a budget, or numbers of heads and units")
        if self.budget is not None and self.budget_ms is not None:
            raise ValueError("budget, a share, or budget_ms, milliseconds")
        if (self.budget_ms is not None) != bool(self.table):
            raise ValueError("budget_ms together with table, the costs.json of imbik search")
        if self._budget is None and not widths and self.layers is None:
            raise ValueError("a budget, or numbers of heads, units or layers")
        if self.layers == ():
            raise ValueError("layers: one at least")
        if isinstance(self.layers, tuple) and list(self.layers) != sorted(set(self.layers)):
            raise ValueError("layers: each once, ascending")
        Distill.of(self.recovery, "prune.recovery")
        return self

    def apply(self, checkpoint: Checkpoint, context: Context) -> Checkpoint:
        """Return the checkpoint with smaller matrices; ``(B, L)`` logits as before.

        Raises:
            UserError: an architecture whose layers are unknown, numbers that it does not have, or a budget that is too small.
        """
        prices = self._prices()
        whole = self._whole(checkpoint, context, prices)
        return in_stages(checkpoint, context, partial(self._cut, context, whole, prices), "prune", self.stages, self.recovery)

    def reads(self, teacher: Teacher) -> list[str]:
        """Return the table's file."""
        return [self.table] if self.table else []

    def refuse_before(self, later: Method) -> str | None:
        """Refuse to tie layers of different widths."""
        same = self.alike or (not any(isinstance(counts, tuple) for counts in (self.heads, self.units)) and self._budget is None)
        return f"alike: true, so that {later.name} finds layers of one width" if later.ties_layers and not same else None

    def refuse_after(self, earlier: Method) -> str | None:
        """Refuse to cut matrices that are no longer plain."""
        rewritten = earlier.rewrites_matrices and not earlier.ties_layers
        return f"put prune before {earlier.name}: it cuts plain matrices" if rewritten else None

    @property
    def _budget(self) -> Budget | None:
        amount = self.budget if self.budget_ms is None else self.budget_ms
        return None if amount is None else Budget(amount, self.budget_ms is not None, self.multiple, self.alike)

    def _prices(self) -> Prices:
        return Timed(CostFile.read(self.table), self.table) if self.table else Counted(self.measure)

    def _whole(self, checkpoint: Checkpoint, context: Context, prices: Prices) -> _Whole:
        model = checkpoint.model
        blocks = prunable(model)
        prices.check(model, blocks)
        costs = prices.of(model, blocks, self._data(checkpoint, context))
        counted = {kind: tuple(block.count for block in blocks if block.kind == kind) for kind in ("heads", "units")}
        cost = prices.fixed(model) + sum(float(cost[-1]) for cost in costs.values())
        return _Whole(cost, counted["heads"], counted["units"], len(layer_stack(model)[1]))

    def _data(self, checkpoint: Checkpoint, context: Context) -> Encoded:
        return encode_for(checkpoint.task, sample(context.splits.train, self.texts, context.seed), checkpoint.tokenizer)

    def _cut(
        self, context: Context, whole: _Whole, prices: Prices, checkpoint: Checkpoint, done: float
    ) -> tuple[Checkpoint, tuple[Note, ...]]:
        """Cut once; ``done``, up to 1, is how far this stage goes."""
        model = checkpoint.model
        rows = sample(context.splits.train, self.texts, context.seed)
        data = encode_for(checkpoint.task, rows, checkpoint.tokenizer)
        # texts that the repair has not seen, where there are more
        probe = encode_for(checkpoint.task, rest(context.splits.train, rows, PROBE_TEXTS, context.seed), checkpoint.tokenizer)
        before = predict_rows(model, probe, checkpoint.task)

        def distance() -> float:
            return max(moved(checkpoint.task, predict_rows(model, probe, checkpoint.task), before), 0.0)

        # layers first: importance is that of the model that remains
        stay = self._layers(checkpoint, distance, whole)
        known = None
        if self.repair != "none":
            known = reference(model, [block for block in prunable(model) if block.layer in stay], data)
        if len(stay) < len(layer_stack(model)[1]):
            keep_layers(model, stay)
        blocks = prunable(model)
        costs, fixed = prices.of(model, blocks, data), prices.fixed(model)
        scores = importance(self.importance, model, blocks, data, targets_of(rows, data, context), checkpoint.task)
        if self._budget is None:
            counts = self._written(blocks, whole, done)
        else:
            counts = self._budget.counts(blocks, scores, costs, fixed, whole.cost, done)
        kept = {block.writer: most_important(scores[block.writer], count) for block, count in zip(blocks, counts, strict=True)}
        left = (fixed + sum(float(costs[writer][len(chosen)]) for writer, chosen in kept.items())) / whole.cost
        blocks = cut(model, blocks, kept)
        moves = (distance(), None) if known is None else self._repaired(model, blocks, known, context, distance)
        model.eval()
        return checkpoint, (*_fixed(model, blocks), self._report(blocks, len(stay), whole, left, moves))

    def _repaired(
        self, model: PreTrainedModel, blocks: Sequence[Block], known: Reference, context: Context, distance: Callable[[], float]
    ) -> tuple[float, float | None]:
        """Repair; return how far the answers are from the whole model's before and after it. One that does harm is taken back."""
        # the writers alone change, so they are all that must come back
        writers = [model.get_submodule(block.writer) for block in blocks]
        old = [{name: value.clone() for name, value in writer.state_dict().items()} for writer in writers]
        before = distance()
        with context.progress.track("repairing", len(blocks)) as bar:
            repair(model, blocks, known, self.repair, bar)
        after = distance()
        if after > before:
            for writer, state in zip(writers, old, strict=True):
                writer.load_state_dict(state)
        return before, after

    def _layers(self, checkpoint: Checkpoint, distance: Callable[[], float], whole: _Whole) -> list[int]:
        """Return the numbers of the layers that stay, counted from 0."""
        depth = len(layer_stack(checkpoint.model)[1])
        # a later stage finds them gone already
        if self.layers is None or depth < whole.layers:
            return list(range(depth))
        able = set(removable(checkpoint.model))
        if isinstance(self.layers, int):
            _check("layers", self.layers, depth)
            return least_missed(checkpoint.model, self.layers, distance) if self.layers < depth else list(range(depth))
        stay = [number - 1 for number in self.layers]
        _check("layers", max(self.layers), depth)
        if set(range(depth)) - able - set(stay):
            raise UserError("the first layer of this architecture stays", where="prune.layers", found=list(self.layers), expected="1, …")
        return stay

    def _written(self, blocks: Sequence[Block], whole: _Whole, done: float) -> list[int]:
        """Return the numbers that the settings name, of an early stage those on the way to them."""
        asked = {"heads": self.heads, "units": self.units}
        before = {"heads": whole.heads, "units": whole.units}
        found: list[int] = []
        for kind, wanted in asked.items():
            own = [block for block in blocks if block.kind == kind]
            if wanted is not None and not own:
                raise UserError(f"the {kind} of this architecture cannot be cut", where=f"prune.{kind}", found=wanted, fix="leave it out")
            numbers = wanted if isinstance(wanted, tuple) else (wanted,) * len(own)
            if len(numbers) != len(own):
                expected = f"one number, or one for each of {len(own)} layers"
                raise UserError("not one number for each layer", where=f"prune.{kind}", found=list(numbers), expected=expected)
        for block in blocks:
            wanted = asked[block.kind]
            place = [one for one in blocks if one.kind == block.kind].index(block)
            number = wanted[place] if isinstance(wanted, tuple) else wanted
            if number is None:
                found.append(block.count)
                continue
            # an early stage is on the way from the widest layer, in steps of one ratio
            start = max(before[block.kind])
            _check(block.kind, number, start)
            found.append(min(block.count, round(start * (number / start) ** done)))
        return found

    def _report(self, blocks: Sequence[Block], layers: int, whole: _Whole, left: float, moves: tuple[float, float | None]) -> Note:
        now = {kind: sum(block.count for block in blocks if block.kind == kind) for kind in ("heads", "units")}
        before, after = moves
        kind = "prune" if after is None else "prune_repaired" if after <= before else "prune_unrepaired"
        return Note.of(
            kind,
            importance=self.importance,
            measure="milliseconds" if self.table else self.measure,
            layers=layers,
            all_layers=whole.layers,
            heads=now["heads"],
            all_heads=sum(whole.heads),
            units=now["units"],
            all_units=sum(whole.units),
            left=left,
            before=before,
            **({} if after is None else {"after": after}),
        )


def _check(kind: str, number: int, most: int) -> None:
    """Refuse more than there is."""
    if number > most:
        raise UserError(f"the model has fewer {kind}", where=f"prune.{kind}", found=number, expected=f"1 to {most}")


def _fixed(model: PreTrainedModel, blocks: Sequence[Block]) -> tuple[Note, ...]:
    """Return a note where the architecture's code fixes the number of heads or units."""
    kinds = {block.kind for block in blocks_of(model)} - {block.kind for block in blocks}
    return tuple(Note.of(f"prune_fixed_{kind}", model=type(model).__name__) for kind in sorted(kinds))
