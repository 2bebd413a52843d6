"""Candidates + data -> measurements: one path for all (the artefact, tokenization included), one interleaved run, one environment."""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imbik.errors import UserError
from imbik.jobs.progress import Progress, Silent, Task
from imbik.locale.notes import read
from imbik.machine import physical_cores
from imbik.measure.alone import quality_alone
from imbik.measure.measurement import (
    Architecture,
    Calibration,
    ClassQuality,
    Measurement,
    Parity,
    Quality,
    Retention,
    group,
)
from imbik.measure.predictions import Predictions, load_outputs
from imbik.measure.process import Candidate, CandidateError, Process, start
from imbik.measure.rivals import over_rivals
from imbik.measure.timing import ROUNDS, Timing, time_candidates, write_rows, write_sample
from imbik.measure.values import Environment, Failure
from imbik.runtime.engines.registry import engine
from imbik.tasks.outputs import Outputs
from imbik.tasks.registry import task_of
from imbik.tasks.retention import Evaluable, agreement, asked_of, quality, retention
from imbik.types import Note

__all__ = ["Candidate", "Measured", "measure"]

COLD_STARTS = 3
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """What one interleaved run found.

    Attributes:
        measurements: in the order of the candidates, without those that failed.
        logits: id -> split (``dev``, ``test``) -> outputs, logits ``(N, L)`` for most tasks.
        environment: the machine.
        failures: candidates that could not be measured: ``{"id", "name", "error"}``.
        baseline: id of the baseline among the candidates, or None.
    """

    measurements: tuple[Measurement, ...]
    logits: Mapping[str, Mapping[str, Outputs]]
    environment: Environment
    failures: tuple[Failure, ...] = ()
    baseline: str | None = None

    def predictions(self, identifier: str, data: Evaluable) -> Predictions:
        """Return the logits of one candidate in the form that :func:`imbik.measure.predictions.save_predictions` stores."""
        prints = {"test": data.test.fingerprint} | ({"dev": data.dev.fingerprint} if data.dev is not None else {})
        return Predictions(identifier, tuple(data.labels), data.task, prints, dict(self.logits[identifier]))


@dataclass
class _Subject:
    """A candidate on its way through the run."""

    candidate: Candidate
    process: Process
    cold: list[float]
    logits: dict[str, Outputs] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    timing: Timing = field(default_factory=Timing)
    notes: tuple[Note, ...] = ()


def measure(
    candidates: Sequence[Candidate],
    data: Evaluable,
    *,
    baseline: str | None = None,
    predictions: Predictions | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    minutes: float | None = None,
    rounds: int = ROUNDS,
) -> Measured:
    """Measure candidates side by side, each in a process of its own, one at work at a time. Cold start: the median of three fresh
    processes, spawn to first answer. Requests and batches are timed in rounds on at most 1,024 test texts, in the state of a process that
    has read other texts of the task, and batches also in that of one that has read none; quality is on all rows.

    Args:
        candidates: what to measure; ids must differ.
        data: rows with targets.
        baseline: id of the candidate that retention and agreement compare with.
        predictions: a baseline's stored predictions, for when it is not among the candidates.
        threads: compute threads of each candidate; None: the physical cores.
        progress: where the work is shown.
        minutes, rounds: of timing; no round begins after this many minutes, except the first three.

    Raises:
        UserError: two candidates with one id, an unknown baseline, or a baseline that cannot be run.
    """
    _check(candidates, baseline)
    threads = threads or physical_cores()
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    failures: list[Failure] = []
    with ExitStack() as stack, (progress or Silent()).track("measure", len(candidates) * (COLD_STARTS + 2 + 1 + rounds)) as bar:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="imbik-")))
        subjects = _start(candidates, data, threads, stack, failures, bar)
        _say_failures(failures, baseline)
        _run(subjects, data, folder, failures, bar, rounds, deadline)
        _say_failures(failures, baseline)
        logits = {subject.candidate.id: subject.logits for subject in subjects}
        reference = logits.get(baseline or "") or (predictions.logits if predictions else None)
        found = over_rivals([_measurement(subject, data, reference, threads) for subject in subjects], data, logits)
    return Measured(found, logits, Environment.here(threads), tuple(failures), baseline)


def _check(candidates: Sequence[Candidate], baseline: str | None) -> None:
    ids = [candidate.id for candidate in candidates]
    if len(set(ids)) != len(ids):
        raise UserError("two candidates have the same id", found=", ".join(sorted({i for i in ids if ids.count(i) > 1})))
    if baseline is not None and baseline not in ids:
        raise UserError("the baseline is not among the candidates", found=baseline, expected=", ".join(ids))


def _say_failures(failures: Sequence[Failure], baseline: str | None) -> None:
    for failure in failures:
        _log.info("%s could not be measured: %s", failure["id"], failure["error"])
        if failure["id"] == baseline:
            raise UserError("the baseline cannot be run", where=baseline, found=failure["error"])


def _start(
    candidates: Sequence[Candidate],
    data: Evaluable,
    threads: int,
    stack: ExitStack,
    failures: list[Failure],
    bar: Task,
) -> list[_Subject]:
    """Start every candidate three times, in turn, and keep the last process of each."""
    # one text for all, so that cold starts differ by the model alone
    text, pair = data.test.texts[0], None if data.test.pairs is None else data.test.pairs[0]
    times: dict[str, list[float]] = {candidate.id: [] for candidate in candidates}
    subjects = []
    for number in range(COLD_STARTS):
        for candidate in candidates:
            if any(failure["id"] == candidate.id for failure in failures):
                continue
            try:
                process, seconds = start(candidate, threads, text, pair)
            except (CandidateError, UserError) as error:
                failures.append({"id": candidate.id, "name": candidate.name, "error": str(error)})
                continue
            times[candidate.id].append(seconds)
            if number < COLD_STARTS - 1:
                process.close()
            else:
                stack.enter_context(process)
                subjects.append(_Subject(candidate, process, times[candidate.id]))
            bar.advance(note=f"cold start {candidate.id}")
    return subjects


def _run(
    subjects: list[_Subject],
    data: Evaluable,
    folder: Path,
    failures: list[Failure],
    bar: Task,
    rounds: int,
    deadline: float | None,
) -> None:
    """Time and predict. A candidate that dies on the way is dropped and the others are timed again without it."""
    sample = write_sample(folder, data.test, data.dev)
    while subjects:
        try:
            timings = time_candidates([s.process for s in subjects], sample, bar, rounds=rounds, deadline=deadline)
            for subject, timing in zip(subjects, timings, strict=True):
                subject.timing = timing
                _predict(subject, data, folder, bar)
            return
        # all are timed again: the rounds that the others had beside it are not like those to come
        except CandidateError as error:
            lost = next(s for s in subjects if s.candidate.id == error.candidate)
            failures.append({"id": lost.candidate.id, "name": lost.candidate.name, "error": str(error)})
            subjects.remove(lost)


def _predict(subject: _Subject, data: Evaluable, folder: Path, bar: Task) -> None:
    """Predict all rows of dev and test, and ask for the process's facts and memory."""
    for split, examples in (("dev", data.dev), ("test", data.test)):
        if examples is not None:
            rows = folder / f"{split}.jsonl"
            if not rows.exists():
                write_rows(rows, examples.texts, examples.pairs)
            out = folder / f"{split}.npy"
            count = len(examples.texts)
            subject.process.ask("scores", rows=str(rows), count=count, out=str(out), budget=subject.timing.budget)
            subject.logits[split] = load_outputs(out)
        bar.advance(note=f"{split} {subject.candidate.id}")
    # asked before the facts: those of a plain checkpoint are counted on the model and may raise the
    # peak
    memory = subject.process.ask("memory")
    subject.facts = subject.process.ask("facts") | memory
    subject.notes = quality_alone(subject.process, subject.facts["manifest"], data, subject.logits["test"], folder)


def _measurement(subject: _Subject, data: Evaluable, reference: Mapping[str, Outputs] | None, threads: int) -> Measurement:
    candidate, manifest, timing = subject.candidate, subject.facts["manifest"], subject.timing
    task = task_of(data.task)
    decoded = task.decode(subject.logits["test"], asked_of(data, data.test))
    other = None if reference is None else reference["test"]
    targets = data.test.targets
    if targets is None:
        raise UserError("no labels to measure against", expected="a labelled test or dev split")
    sizes = {name: int(entry["bytes"]) for name, entry in manifest["files"].items()}
    latency = timing.latency(subject.facts["length_multiple"])
    classes = task.per_class(decoded, targets, data.labels) or {}
    return Measurement(
        id=candidate.id,
        name=candidate.name,
        engine=candidate.engine,
        parent=candidate.parent,
        rival=candidate.rival,
        steps=tuple(candidate.steps),
        architecture=group(Architecture, manifest["architecture"]),
        params=int(manifest["params"]),
        flops_per_item=_flops(manifest["flops"], latency.tokens or 0.0),
        bytes=_shipped(candidate.path, sizes),
        model_bytes=sizes.get(manifest["model"], 0),
        quality=group(Quality, quality(data, "test", data.test, subject.logits)),
        dev_quality=group(Quality, quality(data, "dev", data.dev, subject.logits)),
        retention=group(Retention, retention(data, subject.logits["test"], other)),
        agreement=agreement(data.task, subject.logits["test"], other),
        calibration=Calibration(task.calibration(decoded, targets)),
        per_class={label: group(ClassQuality, values) for label, values in classes.items()},
        latency_ms=latency,
        throughput=timing.throughput(),
        peak_rss_bytes=int(subject.facts["peak_rss_bytes"]),
        cold_start_s=statistics.median(subject.cold),
        cpu_s_per_1000=statistics.median(timing.cpu),
        train_seconds=candidate.train_seconds,
        threads=threads,
        parity=group(Parity, manifest["parity"]),
        notes=(*notes_of(manifest), *subject.notes),
    )


def _shipped(path: Path, sizes: Mapping[str, int]) -> int:
    """Return the bytes of all that a deployment copies, the manifest included."""
    manifest = path / "manifest.json"
    return sum(sizes.values()) + (manifest.stat().st_size if manifest.is_file() else 0)


def _flops(coefficients: Sequence[float], tokens: float) -> float:
    """Return the floating-point operations of a text of ``tokens`` tokens; see :func:`imbik.models.facts.flops`."""
    return float(sum(value * tokens**power for power, value in enumerate(coefficients)))


def notes_of(manifest: Mapping[str, Any]) -> tuple[Note, ...]:
    """Return what an artefact's manifest says that a reader of its measurement must know."""
    parity = group(Parity, manifest["parity"])
    beside, graph = parity.float_parent, manifest["graph"]
    notes = [read(note) for note in manifest["notes"]]
    if beside and beside.slower:
        notes.append(Note.of("slower", own=beside.p50_ms or 0.0, parent=beside.float_p50_ms or 0.0))
    if parity.reverted:
        notes.append(Note.of("reverted", names=parity.reverted))
    if parity.limit and parity.limit["kept"] is None:
        notes.append(Note.of("no_share", quality=parity.limit["reference"]))
    if parity.limit and parity.limit["shortfall"]:
        notes.append(Note.of("below", kept=parity.limit["kept"], asked=parity.limit["min_retention"]))
    if parity.limit and parity.limit.get("left"):  # artefacts of earlier versions do not say
        left = parity.limit["left"]
        notes.append(Note.of("left_in_int8", names=tuple(left), mb=max(left.values()) / 1e6, rows=parity.limit["rows"]))
    if manifest["quantisation"] and parity.float_matmuls:
        notes.append(Note.of("float_left", count=parity.float_matmuls))
    if not graph["fused"]:
        notes.append(Note.of("unfused", reasons="; ".join(graph["unfused_because"])))
    return (*notes, *engine(manifest["engine"]).notes(manifest))
