"""One budget for the heads and units of all layers: how many each keeps, and which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from imbik.factorization.ranks import Point, buy
from imbik.models.blocks import Block

Scores = Mapping[str, NDArray[np.float64]]
"""Writer of a block -> the importance of its heads or units, ``(count,)``."""
Costs = Mapping[str, NDArray[np.float64]]
"""Writer of a block -> what the block costs with 0, 1, …, ``count`` heads or units, ``(count + 1,)``, rising."""


def choices(block: Block, multiple: int) -> list[int]:
    """Return how many heads or units a block may keep: any number of heads, of units a multiple, or all.

    >>> choices(Block("units", 0, 100, 1, 1, (), ""), 32)
    [32, 64, 96, 100]
    """
    step = multiple if block.kind == "units" else 1
    return sorted({*range(step, block.count + 1, step), block.count})


def shared(blocks: Sequence[Block], scores: Scores, costs: Costs, budget: float, multiple: int) -> list[int] | None:
    """Return how many of its heads or units each block keeps under one budget, the least importance in all left out.

    Within a block the most important stay. Where every unit costs the same, that is the exact search of Kwon et al. (2022, section 4.2)
    up to one step; costs of any other form (measured times) are bought along their hulls (:func:`imbik.factorization.ranks.buy`).

    Returns:
        One number per block, or None where the least that may stay costs more than the budget.
    """
    points = [_points(block, scores[block.writer], costs[block.writer], multiple) for block in blocks]
    chosen = buy(points, budget)
    return None if chosen is None else [int(choice[index][2]) for choice, index in zip(points, chosen, strict=True)]


def alike(blocks: Sequence[Block], scores: Scores, costs: Costs, budget: float, multiple: int) -> list[int] | None:
    """Return the same as :func:`shared` where all layers keep as many heads as the others, and as many units.

    Every number of heads is tried with as many units as the rest of the budget pays.

    Returns:
        One number per block, or None where the least costs more than the budget or the layers are not alike now.
    """
    kinds = {"heads": [0], "units": [0]} | {block.kind: choices(block, multiple) for block in blocks}
    if any(choices(block, multiple) != kinds[block.kind] for block in blocks):
        return None
    best: tuple[float, dict[str, int]] | None = None
    for heads in kinds["heads"]:
        for units in kinds["units"]:
            counts = {"heads": heads, "units": units}
            if sum(float(costs[block.writer][counts[block.kind]]) for block in blocks) > budget + 1e-9:
                break  # more units cost more still
            lost = sum(_lost(scores[block.writer])[counts[block.kind]] for block in blocks)
            # of equals the later one, which has more units for the same budget
            if best is None or lost <= best[0]:
                best = lost, counts
    return None if best is None else [best[1][block.kind] for block in blocks]


def most_important(scores: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return the numbers of the ``count`` most important, ascending; of equals the first.

    >>> most_important(np.array([1.0, 3.0, 1.0]), 2)
    array([0, 1])
    """
    return np.sort(np.argsort(-scores, kind="stable")[:count])


def _lost(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the importance that is lost where 0, 1, …, all of the most important stay."""
    # summed from the top, so that nothing of the sum is lost beside a large score
    ordered = np.sort(scores)[::-1]
    return np.asarray(np.maximum(float(scores.sum()) - np.concatenate([[0.0], np.cumsum(ordered)]), 0.0))


def _points(block: Block, scores: NDArray[np.float64], costs: NDArray[np.float64], multiple: int) -> list[Point]:
    lost = _lost(scores)
    found: list[Point] = []
    for count in choices(block, multiple):
        # of equals the widest: what a measured table says of widths below the narrowest that was measured
        if found and costs[count] <= found[-1][0]:
            found.pop()
        found.append((float(costs[count]), float(lost[count]), count))
    return found
