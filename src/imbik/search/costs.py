"""What architectures cost, by a table: artefacts of a designed set are built and measured once, the rest are sums.

cost = base + Σ over layers (layer + steps of its heads + steps of its units); a step is what the next width costs. A model of one layer
has a base and steps of its own: its query is the same for every text, and is folded into the keys (:mod:`imbik.export.onnx.first_query`).
So has the last of several, of which artefacts compute the first token alone. The terms are fitted to all measured artefacts at once, by
least squares of the relative error, as a user would run them (onnxruntime, int8, tokenizing included).
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from imbik.export.artefact import export
from imbik.jobs.files import read_json, write_json
from imbik.jobs.fingerprints import key_of
from imbik.jobs.progress import Progress
from imbik.runtime.predictor import Predictor, load_artefact, read_artefact
from imbik.search.space import Architecture, Space
from imbik.search.supernet import Supernet
from imbik.search.timing import time_in_batches, time_one_by_one
from imbik.training.probes import sample
from imbik.types import Artefact, Checkpoint, Examples

INT8: dict[str, dict[str, Any]] = {"quantize": {"scheme": "dynamic"}}
_TEXTS = 24
_DEEP = 6
"""Layers of the deepest artefact that is measured: many at once, since what one of them costs is small beside the noise."""
_RANDOM = 20
"""Architectures at random among those that are measured: without, short models with one narrow layer come out a fifth too slow."""


@dataclass(frozen=True)
class Cost:
    """What one architecture costs.

    Attributes:
        ms: median time of a single request.
        bytes: of its artefact.
        batch_ms: time of a text in batches.
    """

    ms: float
    bytes: float
    batch_ms: float


@dataclass(frozen=True)
class Table:
    """Fitted costs of the parts of an architecture.

    Attributes:
        heads, units: the widths of the space.
        terms: name of a part (:func:`terms_of`) -> ``[ms, bytes, batch_ms]``.
        measured: what they were fitted to: one entry for each artefact.
    """

    heads: list[int]
    units: list[int]
    terms: dict[str, list[float]]
    measured: list[dict[str, Any]]

    @classmethod
    def fitted(cls, space: Space, architectures: Sequence[Architecture], costs: Sequence[Cost]) -> Table:
        """Return the table that explains measured costs best, in the relative error."""
        heads, units = list(space.heads), list(space.units)
        counted = [terms_of(one, heads, units) for one in architectures]
        names = sorted({name for counts in counted for name in counts})
        known = np.array([[counts[name] for name in names] for counts in counted], dtype=np.float64)
        wanted = np.array([[cost.ms, cost.bytes, cost.batch_ms] for cost in costs])
        # every row divided by what was measured: a percent counts alike in small models and large ones
        terms = np.stack([np.linalg.lstsq(known / own[:, None], np.ones(len(own)), rcond=None)[0] for own in wanted.T], 1)
        measured = [{**asdict(one), "cost": asdict(cost)} for one, cost in zip(architectures, costs, strict=True)]
        return cls(heads, units, dict(zip(names, terms.tolist(), strict=True)), measured)

    def cost(self, chosen: Architecture) -> Cost:
        """Return what an architecture costs by the table."""
        counts = terms_of(chosen, self.heads, self.units)
        total = np.sum([count * np.array(self.terms[name]) for name, count in counts.items()], 0)
        return Cost(*(float(value) for value in total))


def terms_of(chosen: Architecture, heads: Sequence[int], units: Sequence[int]) -> Counter[str]:
    """Return how often each part stands in an architecture.

    >>> sorted(terms_of(Architecture((0, 3), (4, 2), (64, 32)), [2, 4], [32, 64]))
    ['inner heads 4', 'inner layer', 'inner units 64', 'several layers']
    """
    last = len(chosen.layers) - 1
    found = Counter(["several layers" if last else "one layer"])
    for place, (own_heads, own_units) in enumerate(zip(chosen.heads, chosen.units, strict=True)):
        kind = "inner" if place < last else "last" if last else "only"
        # there is always one last layer: its own constant is part of the base
        found.update(["inner layer"] if kind == "inner" else [])
        found.update(f"{kind} heads {width}" for width in heads[1:] if width <= own_heads)
        found.update(f"{kind} units {width}" for width in units[1:] if width <= own_units)
    return found


def table_of(supernet: Supernet, texts: Examples, folder: Path, threads: int, progress: Progress) -> Table:
    """Return the table of a supernet on this machine: read where it was measured before, else measured now.

    Args:
        texts: of the task; some are timed.
        folder: keeps ``table.json``, and artefacts while they are needed.
        threads: of the engine.
    """
    file = folder / "table.json"
    if file.is_file():
        return Table(**read_json(file))
    chosen = list(design(supernet.space))
    table = Table.fitted(supernet.space, chosen, measured(supernet, chosen, texts, folder / "artefacts", threads, progress))
    # whole before the artefacts go: a kill in between only leaves them behind
    write_json(file, asdict(table))
    shutil.rmtree(folder / "artefacts", ignore_errors=True)
    return table


def measured(
    supernet: Supernet, chosen: Sequence[Architecture], texts: Examples, folder: Path, threads: int, progress: Progress
) -> list[Cost]:
    """Return the costs of sub-networks, built as a user would run them and timed in turn; ``folder`` gets the artefacts."""
    sizes: list[int] = []
    predictors: list[Predictor] = []
    with progress.track("building artefacts for the table", len(chosen)) as bar:
        for architecture in chosen:
            path = folder / key_of(asdict(architecture))
            # a killed call goes on behind what it built
            built = read_artefact(path) if path.is_dir() else _built(supernet.student(architecture), path, texts)
            sizes.append(built.bytes)
            predictors.append(load_artefact(path, threads=threads))
            bar.advance()
    alone, together = time_one_by_one(predictors, texts, progress), time_in_batches(predictors, texts, progress)
    return [Cost(ms, float(size), batch) for ms, size, batch in zip(alone, sizes, together, strict=True)]


def _built(checkpoint: Checkpoint, path: Path, texts: Examples) -> Artefact:
    """Write a model's int8 artefact."""
    # what it answers does not matter here: a sub-network before its training may answer anything
    return export(replace(checkpoint, steps=(INT8,)), "onnx", path, texts=sample(texts, _TEXTS, 0), least=None)


def design(space: Space) -> Iterator[Architecture]:
    """Yield what is measured: every width alone in the only layer, in the last and in all inner ones, some depths, and some at random."""
    fewest = max(1, len(space.fixed))
    most = max(fewest, min(space.depth, _DEEP))
    # the last layer's widths in the shortest model that has another one, where they are largest beside the rest
    plan = {(fewest, "last"), (min(max(2, fewest), most), "last"), *([(most, "inner")] if most > 1 else [])}
    for count, kind in sorted(plan):
        yield _alike(space, count)
        for heads in space.heads[:-1]:
            yield _alike(space, count, kind, heads=heads)
        for units in space.units[:-1]:
            yield _alike(space, count, kind, units=units)
    generator = np.random.default_rng(0)
    for _ in range(_RANDOM):
        yield space.architecture(space.draw(generator))


def _alike(space: Space, count: int, kind: str = "last", heads: int | None = None, units: int | None = None) -> Architecture:
    """Return ``count`` whole layers, of which the last one or all others are narrower."""
    # what must stay, the last layer, then the first ones
    order = dict.fromkeys((*space.fixed, space.depth - 1, *range(space.depth)))
    stay = sorted(list(order)[:count])
    narrow = [(place == count - 1) == (kind == "last") for place in range(count)]
    wide = ((heads, space.heads[-1]), (units, space.units[-1]))
    widths = [tuple(asked if asked and own else whole for own in narrow) for asked, whole in wide]
    return Architecture(tuple(stay), *widths)
