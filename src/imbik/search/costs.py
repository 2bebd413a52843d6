"""What architectures cost, by a table: layers of every width are built and timed once, the rest are sums.

time = t₀ + (layers - n₀) · c - Σ over layers (a(heads) + f(units)): t₀ is the shortest model of whole layers, n₀ its layers (one, as a
rule), c one more whole layer, a and f what a narrower one saves. The last layer, of which artefacts compute the first token alone, has
an a and f of its own. Every number is a difference between two artefacts as a user would run them (onnxruntime, int8, tokenizing
included).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from imbik.export.artefact import export
from imbik.jobs.files import read_json, write_json
from imbik.jobs.progress import Progress
from imbik.runtime.predictor import Predictor, load_artefact
from imbik.search.space import Architecture, Space
from imbik.search.supernet import Supernet
from imbik.training.probes import sample
from imbik.types import Checkpoint, Examples

INT8: dict[str, dict[str, Any]] = {"quantize": {"scheme": "dynamic"}}
_TEXTS = 24
_ROUNDS = 15


@dataclass(frozen=True)
class Cost:
    """What one architecture costs.

    Attributes:
        ms: median time of a single request.
        bytes: of its artefact.
    """

    ms: float
    bytes: float


@dataclass(frozen=True)
class Table:
    """Measured costs of layers.

    Attributes:
        shortest: ``[ms, bytes]`` of the shortest model.
        depth: its layers.
        layer: ``[ms, bytes]`` of one more layer.
        saved: ``inner`` or ``last`` -> ``heads`` or ``units`` -> width as text -> ``[ms, bytes]`` that it saves against the whole.
        measured: what was timed: one entry for each artefact.
    """

    shortest: list[float]
    depth: int
    layer: list[float]
    saved: dict[str, dict[str, dict[str, list[float]]]]
    measured: list[dict[str, Any]]

    def cost(self, chosen: Architecture) -> Cost:
        """Return what an architecture costs by the table."""
        count = len(chosen.layers)
        # time and bytes in one vector: both are sums over layers
        total = np.array(self.shortest) + (count - self.depth) * np.array(self.layer)
        for place, (heads, units) in enumerate(zip(chosen.heads, chosen.units, strict=True)):
            saved = self.saved["last" if place == count - 1 else "inner"]
            total = total - saved["heads"][str(heads)] - saved["units"][str(units)]
        return Cost(float(total[0]), float(total[1]))


def table_of(supernet: Supernet, texts: Examples, folder: Path, threads: int, progress: Progress) -> Table:
    """Return the table of a supernet on this machine: read where it was measured before, else measured now.

    Args:
        texts: of the task; some are timed one by one.
        folder: keeps ``costs.json``, and artefacts while they are needed.
        threads: of the engine.
    """
    file = folder / "costs.json"
    if file.is_file():
        return Table(**read_json(file))
    points = list(_points(supernet.space))
    chosen = sample(texts, _TEXTS, 0)
    predictors, sizes = [], []
    with progress.track("building artefacts for the table", len(points)) as bar:
        for number, (_, architecture) in enumerate(points):
            path = folder / "artefacts" / str(number)
            size = _built(supernet.student(architecture), path, texts)
            sizes.append(size)
            predictors.append(load_artefact(path, threads=threads))
            bar.advance()
    times = time_one_by_one(predictors, chosen, progress)
    table = _solved(supernet.space, points, [[ms, float(size)] for ms, size in zip(times, sizes, strict=True)])
    # whole before the artefacts go: a kill in between only leaves them behind
    write_json(file, asdict(table))
    shutil.rmtree(folder / "artefacts", ignore_errors=True)
    return table


def _built(checkpoint: Checkpoint, path: Path, texts: Examples) -> int:
    """Write a model's int8 artefact; return its bytes."""
    # what it answers does not matter here: a sub-network before its training may answer anything
    return export(replace(checkpoint, steps=(INT8,)), "onnx", path, texts=sample(texts, _TEXTS, 0), least=None).bytes


def time_one_by_one(predictors: Sequence[Predictor], texts: Examples, progress: Progress) -> list[float]:
    """Return the median milliseconds of a single request for each predictor, all of them in turn for every text."""
    seconds: list[list[float]] = [[] for _ in predictors]
    with progress.track("timing", _ROUNDS) as bar:
        for round_ in range(_ROUNDS + 1):
            # in turn for every text: what slows the machine slows all of them
            for row, text in enumerate(texts.texts):
                pair = None if texts.pairs is None else [texts.pairs[row]]
                for predictor, own in zip(predictors, seconds, strict=True):
                    began = time.perf_counter()
                    predictor.scores([text], pair)
                    if round_:  # the first warms up
                        own.append(time.perf_counter() - began)
            bar.advance(int(round_ > 0))
    return [1000 * float(np.median(own)) for own in seconds]


Point = tuple[str, str, int]
"""Which layer is narrow (``inner`` or ``last``), what of it (``heads`` or ``units``), and its width."""


def _points(space: Space) -> Iterator[tuple[Point, Architecture]]:
    """Yield what is measured, and the model by which it is."""
    last = space.depth - 1
    shortest = tuple(sorted({*space.fixed, last}))
    # one more layer than the shortest has, or, where there is none, one of its own that is not the last
    others = [*(place for place in range(space.depth) if place not in shortest), *shortest[:-1]]
    inner = (("inner", tuple(sorted({*shortest, others[0]})), others[0]),) if others else ()
    for kind, layers, narrow in (("last", shortest, last), *inner):
        place = layers.index(narrow)
        for what, widths in (("heads", space.heads), ("units", space.units)):
            # the whole layer stands for both: it is built once
            for width in widths if what == "heads" else widths[:-1]:
                wide = {"heads": [space.heads[-1]] * len(layers), "units": [space.units[-1]] * len(layers)}
                wide[what][place] = width
                yield (kind, what, width), Architecture(layers, tuple(wide["heads"]), tuple(wide["units"]))


def _solved(space: Space, points: Sequence[tuple[Point, Architecture]], costs: Sequence[Sequence[float]]) -> Table:
    """Return the table that the measured artefacts give."""
    found = {point: np.array(cost, dtype=np.float64) for (point, _), cost in zip(points, costs, strict=True)}
    whole = {kind: found[kind, "heads", space.heads[-1]] for kind in dict.fromkeys(kind for kind, _, _ in found)}
    saved: dict[str, dict[str, dict[str, list[float]]]] = {
        # the widest feed-forward network saves nothing, and was not built a second time
        kind: {"heads": {}, "units": {str(space.units[-1]): [0.0, 0.0]}}
        for kind in whole
    }
    for (kind, what, width), cost in found.items():
        # narrower is never dearer: where a measurement says so, that is noise
        saved[kind][what][str(width)] = np.maximum(whole[kind] - cost, 0.0).tolist()
    saved.setdefault("inner", saved["last"])
    layer = np.maximum(whole.get("inner", whole["last"]) - whole["last"], 0.0)
    measured = [
        {"point": list(point), **asdict(architecture), "ms": cost[0], "bytes": cost[1]}
        for (point, architecture), cost in zip(points, costs, strict=True)
    ]
    return Table(whole["last"].tolist(), len({*space.fixed, space.depth - 1}), layer.tolist(), saved, measured)
