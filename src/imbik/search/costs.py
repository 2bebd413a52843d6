"""What architectures cost, by a table: artefacts of a designed set are built and measured once, the rest are sums.

The parts are those of :mod:`imbik.pruning.table`: a model of one layer has steps of its own since its query is folded into the keys
(:mod:`imbik.export.onnx.first_query`). They are fitted to all measured artefacts at once, by least squares of the relative error, as a
user would run them (onnxruntime, int8, tokenizing included).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from imbik.errors import UserError
from imbik.export.artefact import export
from imbik.jobs.fingerprints import key_of
from imbik.jobs.progress import Progress
from imbik.machine import environment
from imbik.pruning.costs import shape_of
from imbik.pruning.table import Architecture, Cost, CostFile, Table
from imbik.runtime.predictor import Predictor, load_artefact, read_artefact
from imbik.search.space import Space
from imbik.search.supernet import Supernet
from imbik.training.probes import sample
from imbik.types import Artefact, Checkpoint, Examples

INT8: dict[str, dict[str, Any]] = {"quantize": {"scheme": "dynamic"}}
COSTS = "costs.json"
"""The table's file in the output folder."""

ENGINE = "onnx"
_TEXTS = 24
_DEEP = 6
"""Layers of the deepest artefact that is measured: many at once, since what one of them costs is small beside the noise."""
_RANDOM = 20
"""Architectures at random among those that are measured: without, short models with one narrow layer come out a fifth too slow."""

_DECIDE = ("cpu", "flags", "machine", "versions")
"""What of a machine decides how long its artefacts take."""

_ALONE = 24
_ROUNDS = 15
_TOGETHER = 256
_PASSES = 7


def costs_for(
    supernet: Supernet,
    texts: Examples,
    folder: Path,
    out: Path,
    given: CostFile | None,
    threads: int,
    progress: Progress,
    say: Callable[[str], None],
) -> Table:
    """Return the table of a supernet, and keep it as ``costs.json`` in the output folder.

    Args:
        supernet: whose parts cost something.
        texts: of the task; some are timed.
        folder: where :func:`table_of` keeps its work.
        out: the output folder.
        given: the table of another search, instead of measuring.
        threads: of the engine.
        progress: where progress is shown.
        say: takes one line for the user.
    """
    kept = given or table_of(supernet, texts, folder, threads, progress, say)
    kept.write(out / COSTS)
    return kept.table


def given_table(supernet: Supernet, path: Path) -> CostFile:
    """Return the table of another search.

    Raises:
        UserError: it is none, or one of another model or other widths.
    """
    kept, space = CostFile.read(path), supernet.space
    kept.check(shape_of(supernet.start.model, supernet.blocks), path, pieces=True)
    if (kept.table.heads, kept.table.units) != (list(space.heads), list(space.units)):
        found, expected = f"heads {kept.table.heads}, units {kept.table.units}", f"heads {list(space.heads)}, units {list(space.units)}"
        raise UserError("the table has other widths than the search", where=path, found=found, expected=expected)
    return kept


def table_of(supernet: Supernet, texts: Examples, folder: Path, threads: int, progress: Progress, say: Callable[[str], None]) -> CostFile:
    """Return the table of a supernet on this machine: read where it was measured so before, else measured now.

    Args:
        supernet: whose parts cost something.
        texts: of the task; some are timed.
        folder: keeps the table, and artefacts while they are needed.
        threads: of the engine.
        progress: where progress is shown.
        say: takes one line for the user.
    """
    file, here = folder / COSTS, environment(threads)
    if file.is_file():
        kept = CostFile.read(file)
        if kept.threads == threads and _one_machine(kept.machine, here):
            return kept
        say("the table of costs was measured with other threads or packages, or on another machine: it is measured again")
    chosen = list(design(supernet.space))
    table = Table.fitted(supernet.space, chosen, measured(supernet, chosen, texts, folder / "artefacts", threads, progress))
    shape = shape_of(supernet.start.model, supernet.blocks)
    kept = CostFile(shape, ENGINE, threads, str(INT8["quantize"]["scheme"]), here, table)
    # whole before the artefacts go: a kill in between only leaves them behind
    kept.write(file)
    shutil.rmtree(folder / "artefacts", ignore_errors=True)
    return kept


def _one_machine(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether times of one machine are those of the other."""
    first, second = ({name: value for name, value in machine.items() if name in _DECIDE} for machine in (one, other))
    return first == second


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
    alone, together = _one_by_one(predictors, texts, progress), _in_batches(predictors, texts, progress)
    return [Cost(ms, float(size), batch) for ms, size, batch in zip(alone, sizes, together, strict=True)]


def _one_by_one(predictors: Sequence[Predictor], texts: Examples, progress: Progress) -> list[float]:
    """Return the milliseconds of a single request for each predictor: of each text the median of its rounds, of these the median."""
    chosen = sample(texts, _ALONE, 0)
    rows = [([text], None if chosen.pairs is None else [chosen.pairs[row]]) for row, text in enumerate(chosen.texts)]
    calls = [[lambda own=own, row=row: own.scores(*row) for own in predictors] for row in rows]  # type: ignore[misc]
    seconds = _in_turn(calls, _ROUNDS, progress)
    return [1000 * float(np.median(own)) for own in np.median(seconds, 0).T]


def _in_batches(predictors: Sequence[Predictor], texts: Examples, progress: Progress) -> list[float]:
    """Return the milliseconds of a text in batches for each predictor: the median of its passes."""
    chosen = sample(texts, _TOGETHER, 1)
    calls = [[lambda own=own: own.scores(chosen.texts, chosen.pairs) for own in predictors]]  # type: ignore[misc]
    seconds = _in_turn(calls, _PASSES, progress)
    return [1000 * float(own) / len(chosen.texts) for own in np.median(seconds, 0)[0]]


def _in_turn(calls: Sequence[Sequence[Callable[[], object]]], rounds: int, progress: Progress) -> np.ndarray:
    """Time calls, ``(N, P)``; return seconds ``(rounds, N, P)``."""
    seconds = np.empty((rounds + 1, len(calls), len(calls[0])))
    with progress.track("timing the artefacts", rounds) as bar:
        for round_ in range(rounds + 1):
            # all predictors in turn: what slows the machine slows all of them
            for row, own in enumerate(calls):
                for place, call in enumerate(own):
                    began = time.perf_counter()
                    call()
                    seconds[round_, row, place] = time.perf_counter() - began
            bar.advance(int(round_ > 0))
    # the first round warms up
    return seconds[1:]


def _built(checkpoint: Checkpoint, path: Path, texts: Examples) -> Artefact:
    """Write a model's int8 artefact."""
    # what it answers does not matter here: a sub-network before its training may answer anything
    return export(replace(checkpoint, steps=(INT8,)), ENGINE, path, texts=sample(texts, _TEXTS, 0), least=None)


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
