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
from imbik.machine import environment, physical_cores
from imbik.measure.predictions import Predictions, load_outputs
from imbik.measure.process import Candidate, CandidateError, Process, start
from imbik.measure.timing import ROUNDS, Timing, time_candidates, write_rows, write_sample
from imbik.tasks.outputs import Outputs
from imbik.tasks.registry import task_of
from imbik.tasks.retention import Evaluable, agreement, quality, retention
from imbik.types import Measurement

__all__ = ["Candidate", "Measured", "measure"]

COLD_STARTS = 3
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """What one interleaved run found.

    Attributes:
        measurements: in the order of the candidates, without those that failed.
        logits: id -> split (``dev``, ``test``) -> outputs, logits ``(N, L)`` for most tasks.
        environment: the machine, see :func:`imbik.machine.environment`.
        failures: candidates that could not be measured: ``{"id", "name", "error"}``.
        baseline: id of the baseline among the candidates, or None.
    """

    measurements: tuple[Measurement, ...]
    logits: Mapping[str, Mapping[str, Outputs]]
    environment: Mapping[str, Any]
    failures: tuple[Mapping[str, str], ...] = ()
    baseline: str | None = None

    def predictions(self, identifier: str, data: Evaluable) -> Predictions:
        """The logits of one candidate in the form that :func:`imbik.measure.predictions.save_predictions` stores."""
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
    processes, spawn to first answer. Requests and batches are timed in rounds on at most 1,024 test texts; quality is on all rows.

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
    failures: list[dict[str, str]] = []
    with ExitStack() as stack, (progress or Silent()).track("measure", len(candidates) * (COLD_STARTS + 2 + 1 + rounds)) as bar:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="imbik-")))
        subjects = _start(candidates, data, threads, stack, failures, bar)
        _say_failures(failures, baseline)
        _run(subjects, data, folder, failures, bar, rounds, deadline)
        _say_failures(failures, baseline)
        logits = {subject.candidate.id: subject.logits for subject in subjects}
        reference = logits.get(baseline or "") or (predictions.logits if predictions else None)
        found = tuple(_measurement(subject, data, reference, threads) for subject in subjects)
    return Measured(found, logits, environment(threads), tuple(failures), baseline)


def _check(candidates: Sequence[Candidate], baseline: str | None) -> None:
    ids = [candidate.id for candidate in candidates]
    if len(set(ids)) != len(ids):
        raise UserError("two candidates have the same id", found=", ".join(sorted({i for i in ids if ids.count(i) > 1})))
    if baseline is not None and baseline not in ids:
        raise UserError("the baseline is not among the candidates", found=baseline, expected=", ".join(ids))


def _say_failures(failures: Sequence[Mapping[str, str]], baseline: str | None) -> None:
    for failure in failures:
        _log.info("%s could not be measured: %s", failure["id"], failure["error"])
        if failure["id"] == baseline:
            raise UserError("the baseline cannot be run", where=baseline, found=failure["error"])


def _start(
    candidates: Sequence[Candidate],
    data: Evaluable,
    threads: int,
    stack: ExitStack,
    failures: list[dict[str, str]],
    bar: Task,
) -> list[_Subject]:
    """Start every candidate three times, in turn, and keep the last process of each."""
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
    failures: list[dict[str, str]],
    bar: Task,
    rounds: int,
    deadline: float | None,
) -> None:
    """Time and predict. A candidate that dies on the way is dropped and the others are timed again without it."""
    rows = folder / "sample.jsonl"
    count = write_sample(rows, data.test)
    while subjects:
        try:
            timings = time_candidates([s.process for s in subjects], rows, count, bar, rounds=rounds, deadline=deadline)
            for subject, timing in zip(subjects, timings, strict=True):
                subject.timing = timing
                _predict(subject, data, folder, bar)
            return
        except CandidateError as error:
            lost = next(s for s in subjects if s.candidate.id == error.candidate)
            failures.append({"id": lost.candidate.id, "name": lost.candidate.name, "error": str(error)})
            subjects.remove(lost)


def _predict(subject: _Subject, data: Evaluable, folder: Path, bar: Task) -> None:
    """All rows of dev and test, and the process's facts and memory."""
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
    memory = subject.process.ask("memory")
    subject.facts = subject.process.ask("facts") | memory


def _measurement(subject: _Subject, data: Evaluable, reference: Mapping[str, Outputs] | None, threads: int) -> Measurement:
    candidate, manifest, timing = subject.candidate, subject.facts["manifest"], subject.timing
    task = task_of(data.task)
    decoded = task.decode(subject.logits["test"])
    other = None if reference is None else reference["test"]
    targets = data.test.targets
    if targets is None:
        raise UserError("no labels to measure against", expected="a labelled test or dev split")
    sizes = {name: int(entry["bytes"]) for name, entry in manifest["files"].items()}
    error = task.calibration(decoded, targets)
    latency = timing.latency() | {"length_multiple": subject.facts["length_multiple"]}
    return Measurement(
        id=candidate.id,
        name=candidate.name,
        engine=candidate.engine,
        steps=tuple(candidate.steps),
        architecture=manifest["architecture"],
        params=int(manifest["params"]),
        flops_per_item=_flops(manifest["flops"], latency["tokens"]),
        bytes=_shipped(candidate.path, sizes),
        model_bytes=sizes.get(manifest["model"], 0),
        quality=quality(data, "test", data.test, subject.logits),
        dev_quality=quality(data, "dev", data.dev, subject.logits),
        retention=retention(data, subject.logits["test"], other),
        agreement=agreement(data.task, subject.logits["test"], other),
        calibration=None if error is None else {"ece": error},
        per_class=task.per_class(decoded, targets, data.labels),
        latency_ms=latency,
        throughput=timing.throughput(),
        peak_rss_bytes=int(subject.facts["peak_rss_bytes"]),
        cold_start_s=statistics.median(subject.cold),
        cpu_s_per_1000=statistics.median(timing.cpu),
        train_seconds=candidate.train_seconds,
        threads=threads,
        parity=manifest.get("parity"),
        notes=_notes(manifest),
    )


def _shipped(path: Path, sizes: Mapping[str, int]) -> int:
    """Bytes of all that a deployment copies, the manifest included."""
    manifest = path / "manifest.json"
    return sum(sizes.values()) + (manifest.stat().st_size if manifest.is_file() else 0)


def _flops(coefficients: Sequence[float], tokens: float) -> float:
    """Floating-point operations of a text of ``tokens`` tokens; see :func:`imbik.models.facts.flops`."""
    return float(sum(value * tokens**power for power, value in enumerate(coefficients)))


def _notes(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    parity, graph = manifest.get("parity") or {}, manifest.get("graph") or {}
    notes = [str(note) for note in manifest.get("notes") or ()]
    beside, limit = parity.get("float_parent") or {}, parity.get("limit") or {}
    if beside.get("slower"):
        notes.append(f"slower than its float parent on this machine: {beside['p50_ms']:.2f} ms against {beside['float_p50_ms']:.2f} ms")
    if parity.get("reverted"):
        notes.append("put back to float to keep quality: " + ", ".join(parity["reverted"]))
    if limit.get("shortfall"):
        notes.append(f"keeps {limit['kept']:.1%} on dev, {limit['min_retention']:.1%} asked, whatever is put back to float")
    if manifest.get("quantisation") and parity.get("float_matmuls"):
        notes.append(f"{parity['float_matmuls']} products with a weight stayed in float")
    if graph and not graph.get("fused", True):
        notes.append("attention was not fused: " + "; ".join(graph.get("unfused_because", [])))
    if manifest["engine"] == "pytorch":
        notes.append("runs in PyTorch only")
    if manifest["engine"] == "pytorch-cuda":
        notes.append(f"ran on a GPU ({manifest['device']}) in {manifest['precision']}; it needs that and PyTorch: shown, never chosen")
    return tuple(notes)
