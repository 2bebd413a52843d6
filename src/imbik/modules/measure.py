"""Artefacts of modules side by side: each in a process of its own, in turns, as artefacts of texts are measured."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imbik.errors import UserError
from imbik.export.folder import folder_bytes
from imbik.jobs.progress import Progress, Silent, Task
from imbik.machine import physical_cores
from imbik.measure.process import Candidate, Process, begin
from imbik.measure.run import COLD_STARTS
from imbik.measure.timing import ROUNDS, Sample, Timing, time_candidates
from imbik.measure.values import Environment
from imbik.modules.export.artefact import ExportedModule
from imbik.runtime.modules import Array, ModuleArtefact, load_module

BATCHES = (1, 4, 16, 64)
"""Rows of a batch that are tried; each artefact is timed with the number that suits it."""


@dataclass(frozen=True)
class ModuleMeasurement:
    """What one artefact takes.

    Attributes:
        name: as the caller calls it.
        engine: that runs it.
        bytes: of all files of the artefact.
        parameters: numbers that the module stores, before int8.
        p50_ms, p95_ms, p99_ms: of single rows.
        items_per_s: in batches of ``batch`` rows, the median of the rounds.
        cpu_s_per_1000: processor seconds of a thousand rows in batches.
        cold_start_s: from the start of a process to its first answer, the median of three.
        peak_rss_bytes: largest resident memory of its process.
    """

    name: str
    engine: str
    bytes: int
    parameters: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    items_per_s: float
    batch: float
    cpu_s_per_1000: float
    cold_start_s: float
    peak_rss_bytes: int


@dataclass(frozen=True)
class MeasuredModules:
    """What one interleaved run found.

    Attributes:
        measurements: in the order of the artefacts.
        environment: the machine.
    """

    measurements: tuple[ModuleMeasurement, ...]
    environment: Environment


def measure_module(
    artefacts: Mapping[str, str | Path | ExportedModule],
    arrays: object,
    *,
    threads: int | None = None,
    rounds: int = ROUNDS,
    progress: Progress | None = None,
) -> MeasuredModules:
    """Measure artefacts that :func:`imbik.export_module` wrote, side by side on the same rows.

    Each runs in a process of its own, one at work at a time; every round gives each of them a turn of single rows and one of batches.

    Args:
        artefacts: name -> folder of one engine.
        arrays: rows to ask: an array, a tuple of arrays in the order of the inputs, or arrays by name; the first axis is the rows.
        threads: compute threads of each; None: the physical cores.
        rounds: turns of each.
        progress: where the work is shown.

    Raises:
        UserError: no artefacts, a damaged one, rows that one of them does not read, an artefact of one size of batch.
    """
    if not artefacts:
        raise UserError("there is nothing to measure", where="artefacts", expected="a name and a folder")
    folders = {name: one.path if isinstance(one, ExportedModule) else Path(one) for name, one in artefacts.items()}
    opened = {name: load_module(folder) for name, folder in folders.items()}
    rows = _rows(next(iter(opened.values())), arrays)
    for name, artefact in opened.items():
        if not artefact.manifest["batch"]:
            raise UserError("an artefact of one size of batch is not measured", where=name, fix="export it with batch=True")
        # refused here, and not in a process
        artefact(**{key: array[:1] for key, array in rows.items()})
    threads = threads or physical_cores()
    with ExitStack() as stack, (progress or Silent()).track("measure", len(opened) * (COLD_STARTS + 1 + rounds)) as bar:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="imbik-")))
        file = folder / "rows.npz"
        np.savez(file, **rows)  # type: ignore[arg-type]  # names of inputs, not its own keywords
        candidates = [
            Candidate(name, name, str(opened[name].manifest["engine"]), path, worker="imbik.measure.module_worker")
            for name, path in folders.items()
        ]
        processes, cold = _started(candidates, threads, file, stack, bar)
        sample = Sample(file, len(next(iter(rows.values()))), None, 0)
        timings = time_candidates(processes, sample, bar, rounds=rounds, budgets=BATCHES)
        # asked last: memory at its peak
        facts = [process.ask("facts") for process in processes]
    found = zip(candidates, timings, cold, facts, strict=True)
    return MeasuredModules(tuple(_measurement(*one) for one in found), Environment.here(threads))


def _started(
    candidates: Sequence[Candidate], threads: int, file: Path, stack: ExitStack, bar: Task
) -> tuple[list[Process], list[list[float]]]:
    """Start every candidate three times, in turn; return the last process of each, and the seconds of all."""
    processes: list[Process] = []
    cold: list[list[float]] = [[] for _ in candidates]
    for number in range(COLD_STARTS):
        for candidate, seconds in zip(candidates, cold, strict=True):
            process, taken = begin(candidate, threads, rows=str(file))
            seconds.append(taken)
            if number < COLD_STARTS - 1:
                process.close()
            else:
                processes.append(stack.enter_context(process))
            bar.advance(note=f"cold start {candidate.id}")
    return processes, cold


def _measurement(candidate: Candidate, timing: Timing, cold: Sequence[float], facts: Mapping[str, Any]) -> ModuleMeasurement:
    p50, p95, p99 = (float(np.percentile(timing.ms, q)) for q in (50, 95, 99))
    return ModuleMeasurement(
        name=candidate.name,
        engine=candidate.engine,
        bytes=folder_bytes(candidate.path),
        parameters=int(facts["manifest"]["parameters"]),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        items_per_s=statistics.median(timing.rates),
        batch=round(timing.batch, 1),
        cpu_s_per_1000=statistics.median(timing.cpu),
        cold_start_s=statistics.median(cold),
        peak_rss_bytes=int(facts["peak_rss_bytes"]),
    )


def _rows(artefact: ModuleArtefact, arrays: object) -> dict[str, Array]:
    """Return arrays by the names of the inputs.

    Raises:
        UserError: another number of arrays, or no rows.
    """
    names = [port.name for port in artefact.inputs]
    parts: Sequence[object] = arrays if isinstance(arrays, tuple | list) else (arrays,)
    # one array too many gets a name that no input has, and is told
    named = dict(arrays) if isinstance(arrays, Mapping) else {names[i] if i < len(names) else str(i): one for i, one in enumerate(parts)}
    rows = {str(name): np.asarray(array) for name, array in named.items()}
    counts = {len(array) if array.ndim else 0 for array in rows.values()}
    if set(rows) != set(names) or len(counts) != 1 or not min(counts):
        raise UserError("these are no rows to ask", where="arrays", found=", ".join(rows) or "nothing", expected=", ".join(names))
    return rows
