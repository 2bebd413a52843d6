"""A candidate and the process that it is measured in."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from imbik.errors import UserError
from imbik.jobs.child import Child
from imbik.measure.rows import said
from imbik.types import Step


class CandidateError(Exception):
    """A candidate's process died or could not answer; ``candidate`` is its id."""

    def __init__(self, candidate: str, message: str) -> None:
        super().__init__(message)
        self.candidate = candidate


@dataclass(frozen=True)
class Candidate:
    """What is measured.

    Attributes:
        id: ``recipe/engine``, unique among those measured together.
        name: the recipe's name.
        engine: a name of :func:`imbik.runtime.engines.engines`.
        path: artefact folder, or a plain checkpoint folder for an engine that runs those.
        steps: the recipe steps that made the model.
        train_seconds: what making it took, or None.
        length_multiple: lengths are padded to a multiple of this; None: as the artefact says.
        parent: name of the same recipe without its ``quantize`` step, where it has one.
        rival: it is measured for comparison: what a user would try first.
        worker: module that serves it in its process.
    """

    id: str
    name: str
    engine: str
    path: Path
    steps: tuple[Step, ...] = ()
    train_seconds: float | None = None
    length_multiple: int | None = None
    parent: str | None = None
    rival: bool = False
    worker: str = "imbik.measure.worker"


class Process:
    """A running worker. Closing it ends the process.

    Args:
        candidate: what it serves.
        threads: compute threads, of the engine and of the tokenizer.
    """

    def __init__(self, candidate: Candidate, threads: int) -> None:
        self.candidate = candidate
        asked = (str(candidate.path), str(threads), str(candidate.length_multiple or ""), candidate.engine)
        self._child = Child(candidate.worker, *asked, threads=threads, encoding="utf-8")

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            UserError: the worker says that its input is wrong (a broken artefact, a missing engine).
            CandidateError: the process died or failed.
        """
        pipes = self._child.process
        assert pipes.stdin is not None and pipes.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it died; what it said first is still to be read
            pipes.stdin.write(json.dumps({"do": do, **fields}) + "\n")
            pipes.stdin.flush()
        line = pipes.stdout.readline()
        if not line:
            raise CandidateError(self.candidate.id, f"its process {self._child.death()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise (UserError(answer["error"].rstrip(".")) if answer.get("user") else CandidateError(self.candidate.id, answer["error"]))
        return answer

    def close(self) -> None:
        """End the process."""
        self._child.close()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def start(candidate: Candidate, threads: int, text: str | bytes, pair: str | None) -> tuple[Process, float]:
    """A fresh process, and the seconds from its start to its first answer.

    Raises:
        UserError, CandidateError: as :meth:`Process.ask`.
    """
    return begin(candidate, threads, texts=[said(text)], pairs=None if pair is None else [pair])


def begin(candidate: Candidate, threads: int, **first: object) -> tuple[Process, float]:
    """A fresh process, and the seconds from its start to its first answer, to the request ``predict`` with the fields ``first``.

    Raises:
        UserError, CandidateError: as :meth:`Process.ask`.
    """
    # spawn, imports, loading and the first answer: what a user of a fresh instance waits for
    started = time.perf_counter()
    process = Process(candidate, threads)
    try:
        process.ask("predict", **first)
    except BaseException:
        process.close()
        raise
    return process, time.perf_counter() - started
