"""A budget for heads and units, as a share of what the whole model costs or in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imbik.errors import UserError
from imbik.models.blocks import Block
from imbik.pruning.allocation import Costs, Scores, alike, choices, shared


@dataclass(frozen=True)
class Budget:
    """What may be left.

    Attributes:
        amount: a share of the whole model's cost, or milliseconds.
        in_ms: whether it is milliseconds.
        multiple: units are kept in multiples of it.
        alike: whether all layers keep as many heads and units as the others.
    """

    amount: float
    in_ms: bool
    multiple: int
    alike: bool

    def counts(self, blocks: Sequence[Block], scores: Scores, costs: Costs, fixed: float, whole: float, done: float) -> list[int]:
        """Return how many heads or units each block keeps.

        Args:
            blocks: of the model as it is now.
            scores: importance of heads and units.
            costs: of the blocks.
            fixed: what the model costs beside them.
            whole: what the whole model cost before anything was cut.
            done: up to 1, how far this stage goes; stages are of one ratio, and the last one reaches the budget itself.

        Raises:
            UserError: the least that may stay costs more than the last stage's budget, or layers of different widths are to be alike.
        """
        # more than the whole model takes is no budget: everything stays
        share = min(1.0, self.amount / whole) if self.in_ms else self.amount
        self._check_least(blocks, costs, fixed, whole, share * whole)
        # both know the same costs and scores; alike has fewer choices
        choose = alike if self.alike else shared
        counts = choose(blocks, scores, costs, share**done * whole - fixed, self.multiple)
        if counts is None:
            widths = {kind: [block.count for block in blocks if block.kind == kind] for kind in ("heads", "units")}
            raise UserError(
                "layers of different widths cannot be cut alike",
                where="prune.alike",
                found=", ".join(f"{kind} {numbers}" for kind, numbers in widths.items() if numbers),
                fix="leave alike out",
            )
        return counts

    def _check_least(self, blocks: Sequence[Block], costs: Costs, fixed: float, whole: float, wanted: float) -> None:
        """Refuse a budget that the last stage cannot reach, before the first one is trained."""
        least = fixed + sum(float(costs[block.writer][choices(block, self.multiple)[0]]) for block in blocks)
        if least > wanted + 1e-9:
            raise UserError(
                "the budget is below the smallest heads and units",
                where="prune.budget_ms" if self.in_ms else "prune.budget",
                found=round(wanted if self.in_ms else wanted / whole, 3),
                expected=f"above {least if self.in_ms else least / whole:.3f}, or a smaller multiple than {self.multiple}",
            )
