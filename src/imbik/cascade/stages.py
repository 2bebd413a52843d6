"""Models of a run as stages: where they lie, what they say of dev, what a text costs them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imbik.cascade.calibration import fitted
from imbik.errors import UserError
from imbik.jobs.progress import Progress
from imbik.measure.measurement import Measurement
from imbik.measure.results import Results
from imbik.runtime.cascade import confidence
from imbik.runtime.engines.registry import engines
from imbik.runtime.manifest import MANIFEST_FILE, read_manifest
from imbik.runtime.predictor import load_artefact
from imbik.tasks.outputs import IMAGES, only
from imbik.tasks.registry import task_of
from imbik.types import Examples, Splits

_TIMED = 256
"""Texts of dev by whose time a stage's cost is told: it only orders policies, what a cascade costs is measured."""


@dataclass(frozen=True)
class Source:
    """An artefact that may be a stage.

    Attributes:
        id: ``recipe/engine``.
        folder: where it lies.
    """

    id: str
    folder: Path


@dataclass(frozen=True)
class Answered:
    """What an artefact says of dev.

    Attributes:
        source: the artefact.
        manifest: what it says of itself.
        logits: ``(N, L)``.
        cost: processor seconds of a text in batches.
    """

    source: Source
    manifest: Mapping[str, Any]
    logits: NDArray[np.float32]
    cost: float


@dataclass(frozen=True)
class Chain:
    """Stages behind one another on dev.

    Attributes:
        stages: cheapest first.
        weights: of each stage's logits; ``earlier``: of what the stages before it said, 0 for the first.
        sure: ``(K, N)`` calibrated confidence of each text after each stage.
        right: ``(K, N)``: whether the answer then is.
    """

    stages: tuple[Answered, ...]
    weights: tuple[float, ...]
    earlier: tuple[float, ...]
    sure: NDArray[np.float64]
    right: NDArray[np.bool_]

    @classmethod
    def of(cls, stages: Sequence[Answered], targets: NDArray[np.int64]) -> Chain:
        """Fit the weights of stages in their order.

        Args:
            stages: what they said of dev.
            targets: of dev, ``(N,)``.
        """
        weights, earlier, sure, right = [], [], [], []
        said: NDArray[np.float32] | None = None
        for stage in stages:
            *before, own = fitted([stage.logits] if said is None else [said, stage.logits], targets)
            weights.append(own)
            earlier.append(before[0] if before else 0.0)
            said = np.asarray(own * stage.logits + (0 if said is None else before[0] * said), np.float32)
            sure.append(confidence(said).astype(np.float64))
            right.append(said.argmax(axis=1) == targets)
        return cls(tuple(stages), tuple(weights), tuple(earlier), np.stack(sure), np.stack(right))


def refuse_images(task: str) -> None:
    """Refuse a task whose models read images, before their data are read.

    Raises:
        UserError: it is one.
    """
    if task_of(task).reads == IMAGES:
        raise UserError("a cascade is of models that read texts, not images", where="cascade", found=task, expected="classification")


def check_task(splits: Splits) -> None:
    """Refuse a task whose answers have no one probability to be sure by, or whose models read images.

    Raises:
        UserError: another task than one label a text.
    """
    refuse_images(splits.task)
    task, targets = task_of(splits.task), splits.dev.targets
    one = targets is not None and targets.ndim == 1 and targets.dtype.kind in "iu" and task.one_row
    if not one or task.one_label(np.zeros((1, len(splits.labels)), np.float32)) is None:
        raise UserError(
            "a cascade needs answers with one label each, to be sure or unsure of",
            where="cascade",
            found=splits.task,
            expected="classification",
        )


def sources(run: Path, results: Results, names: Sequence[str]) -> list[Source]:
    """Return the artefacts of a run by the names of its candidates, or by ``name/engine``.

    Of a name with several engines the one with the least processor time is meant.

    Raises:
        UserError: a name that was not measured, an engine that is no artefact's, or an artefact that is not there.
    """
    return [_source(run, results, name) for name in names]


def _source(run: Path, results: Results, name: str) -> Source:
    fits = [m for m in results.measurements if name in (m.id, m.name) and _is_artefact(m)]
    if not fits:
        known = ", ".join(dict.fromkeys(m.name for m in results.measurements if _is_artefact(m)))
        raise UserError("no such candidate with an artefact", where="--stages", found=name, expected=known)
    m = min(fits, key=lambda m: (m.cpu_s_per_1000 or np.inf, m.id))
    folder = run / "rivals" / m.name if m.rival else run / m.name / "artefacts" / m.engine
    if not (folder / MANIFEST_FILE).is_file():
        raise UserError("the artefact of this candidate is not there", where=folder, fix="run imbik compress again; it continues")
    return Source(m.id, folder)


def _is_artefact(m: Measurement) -> bool:
    known = engines().get(m.engine)
    return known is not None and known.standalone and known.installed()


def answered(source: Source, dev: Examples, threads: int, progress: Progress) -> Answered:
    """Ask an artefact the texts of dev, and time it on some of them."""
    manifest = read_manifest(source.folder)
    model = load_artefact(source.folder, threads=threads)
    count = len(dev.texts)
    parts = []
    with progress.track(f"{source.id} on dev", count) as bar:
        for start in range(0, count, _TIMED):
            stop = min(start + _TIMED, count)
            pairs = None if dev.pairs is None else dev.pairs[start:stop]
            parts.append(only(model.scores(dev.texts[start:stop], pairs)))
            bar.advance(stop - start)
    some, others = dev.texts[:_TIMED], None if dev.pairs is None else dev.pairs[:_TIMED]
    # warm by now, and not one text at a time: a cascade asks its stages for many
    began, passes = time.process_time(), 0
    while passes == 0 or (time.process_time() - began < 0.1):
        model.scores(some, others)
        passes += 1
    cost = (time.process_time() - began) / passes / len(some)
    return Answered(source, manifest, np.concatenate(parts), cost)
