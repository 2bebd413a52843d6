"""One search, looked into: its table against the clock, its strategies against each other, its winner against training alone.

    python -m benchmarks.search.run --teacher DIR --data DATA --name trec --work DIR [--minutes M]

The supernet is trained once, with the settings of ``imbik search``. Then, each in cells of their own under --work (a call does the cells
that are missing and starts no new one after --minutes):

* ``latency``: 30 random sub-networks, and the table's own artefacts once more, built and timed in turn; what the table says of the 30
  (``crossed``: what one says that was fitted to the other half of them as well).
* ``STRATEGY SEED``: 200 evaluations of each strategy under one limit of time. What one has evaluated the others do not compute again:
  what a slice of the supernet keeps on dev is one number, whoever asks.
* ``slice``, ``finished``, ``alone SEED``: the best architecture of all evaluations as it is in the supernet, after a short distillation
  from there, and pruned from the teacher and distilled as ``imbik search`` makes its winner.

The result is benchmarks/results/search/NAME.json, which table.py reads.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.common import clock, in_pieces, parser, record, stay_on
from benchmarks.factorization.run import Bench
from imbik.jobs.progress import Silent
from imbik.measure.values import Limits
from imbik.methods import make_method
from imbik.pruning.table import Architecture, Cost, Table
from imbik.search.costs import design, measured
from imbik.search.options import SearchOptions
from imbik.search.space import Space
from imbik.search.study import Study
from imbik.students import make_student
from imbik.types import Checkpoint

STRATEGIES = ("evolution", "controller", "random")
SEEDS = (0, 1, 2)
NETWORKS = 30
FINISH = {"max_steps": 120, "learning_rate": 3e-4}


@dataclass
class Opened:
    """A search whose supernet is trained and whose table is measured."""

    bench: Bench
    study: Study
    seconds: dict[str, float]

    def latency(self) -> dict[str, Any]:
        """Time random sub-networks beside the table's artefacts."""
        net = self.study.supernet
        generator = np.random.default_rng(1)
        drawn = [net.space.architecture(net.space.draw(generator)) for _ in range(NETWORKS)]
        points = list(design(net.space))
        folder = self.bench.work / "artefacts"
        costs = measured(net, [*points, *drawn], self.bench.splits.dev, folder, 1, Silent())
        now = Table.fitted(net.space, points, costs[: len(points)])

        def told(architecture: Any, cost: Cost) -> dict[str, Any]:
            kept = asdict(self.study.table.cost(architecture))
            return {**asdict(architecture), "measured": asdict(cost), "table": asdict(now.cost(architecture)), "kept_table": kept}

        return {
            "fitted_to": [told(*pair) for pair in zip(points, costs, strict=False)],
            "networks": [told(*pair) for pair in zip(drawn, costs[len(points) :], strict=True)],
        }

    def evaluated(self, strategy: str, seed: int) -> dict[str, Any]:
        """Let one strategy ask for its evaluations; return the rewards in their order, the limit's excess taken off."""
        known = len(self.study.known)
        self.study.options = replace(self.study.options, strategy=strategy, seed=seed)
        with clock() as spent:
            found = [one for one in self.study.asked(time.monotonic()) if one is not None]
        limits = self.study.options.limits
        within = [one for one in found if not one.violation(limits)]
        best = max(within, key=lambda one: one.rank(limits))
        return {
            "rewards": [round(one.retention - one.violation(limits), 6) for one in found],
            "best": {**asdict(best.architecture), "retention": best.retention, "cost": asdict(best.cost)},
            "within": len(within),
            "computed": len(self.study.known) - known,
            "seconds": spent.wall,
        }

    def own(self, make: Callable[[], Checkpoint]) -> dict[str, Any]:
        """Make a model of the best architecture and measure it in float."""
        with clock() as spent:
            made = make()
        best = self.study.best()
        return {**self.bench.measured(made), "seconds": spent.wall, "architecture": asdict(best.architecture), "within": best.retention}

    def slice(self) -> Checkpoint:
        return self.study.supernet.student(self.study.best().architecture)

    def finished(self) -> Checkpoint:
        return make_method({"distill": FINISH}, "bench").apply(self.slice(), self.bench.context("finished"))

    def alone(self, seed: int) -> Checkpoint:
        """Make it of the teacher, as the recipe of ``imbik search`` does."""
        student = make_student(None, self.bench.teacher, self.bench.splits.train, seed)
        context = replace(self.bench.context(f"alone-{seed}"), seed=seed)
        for place, step in enumerate(({"vocabulary": {}}, self.study.best().architecture.step(), {"distill": self.study.options.distill})):
            own = replace(context, directory=context.directory / str(place))
            student = make_method(step, "bench").apply(student, own)
        return student


def crossed(space: Space, latency: dict[str, Any]) -> list[dict[str, float]]:
    """Return what a table says of each random network that was fitted to the other half of them as well, as tables are."""
    found = [[(Architecture(*(tuple(one[key]) for key in ("layers", "heads", "units"))), Cost(**one["measured"])) for one in latency[part]]
             for part in ("fitted_to", "networks")]  # fmt: skip
    said: list[dict[str, float]] = [{}] * len(found[1])
    for half in (0, 1):
        known = [*found[0], *found[1][1 - half :: 2]]
        table = Table.fitted(space, [one for one, _ in known], [cost for _, cost in known])
        said[half::2] = [asdict(table.cost(one)) for one, _ in found[1][half::2]]
    return said


def opened(bench: Bench, share: float, strategies: int) -> Opened:
    """Train the supernet and measure its table, or find both; the limit is a share of the whole model's time."""
    with clock() as spent:
        options = SearchOptions(evaluations=strategies, threads=1, make=False)
        study = Study.begin(bench.teacher, bench.splits, bench.work / "search", options, Silent(), print)
    space = study.supernet.space
    whole = study.table.cost(space.architecture(space.full)).ms
    study.options = replace(options, limits=Limits(max_latency_ms=share * whole))
    return Opened(bench, study, {"supernet_and_table": spent.wall})


def main() -> None:
    arguments = parser(__doc__, "teacher!", "data!", "minutes", "work!", "core")
    arguments.add_argument("--name", required=True, help="of the result")
    arguments.add_argument("--share", type=float, default=0.45, help="of the whole model's time that is allowed")
    arguments.add_argument("--evaluations", type=int, default=200, help="of each strategy and seed")
    options = arguments.parse_args()
    stay_on(options.core)
    began = time.monotonic()
    bench = Bench.opened(options.teacher, options.data, options.work / options.name)
    search = opened(bench, options.share, options.evaluations)
    in_pieces({"begin": lambda: search.seconds}, bench.work / "times", options.minutes)
    makers: dict[str, Callable[[], dict[str, Any]]] = {"latency": search.latency}
    makers |= {f"{one} {seed}": partial(search.evaluated, one, seed) for seed, one in itertools.product(SEEDS, STRATEGIES)}
    makers |= {"slice": partial(search.own, search.slice), "finished": partial(search.own, search.finished)}
    makers |= {f"alone {seed}": partial(search.own, partial(search.alone, seed)) for seed in SEEDS}
    left = options.minutes - (time.monotonic() - began) / 60
    cells = in_pieces(makers, bench.work / "cells", left)
    numbers = {
        "teacher": bench.measured(bench.teacher),
        "rows": bench.rows,
        "space": {**asdict(search.study.supernet.space), "size": search.study.supernet.space.size},
        "limit_ms": search.study.options.limits.max_latency_ms,
        "whole_ms": search.study.options.limits.max_latency_ms / options.share,
        "cells": cells,
        "crossed": crossed(search.study.supernet.space, cells["latency"]) if "latency" in cells else [],
        "looked_at": len(search.study.known),
        **in_pieces({"begin": lambda: search.seconds}, bench.work / "times", options.minutes),
    }
    record(f"search/{options.name}", numbers, options, continues=True)


if __name__ == "__main__":
    main()
