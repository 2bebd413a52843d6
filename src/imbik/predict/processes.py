"""Parts to answers: in this process, or in several that are started again when they die."""

from __future__ import annotations

import contextlib
import pickle
import queue
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Protocol

from imbik.errors import UserError
from imbik.jobs.child import Child, Died
from imbik.machine import memory_bytes, physical_cores
from imbik.predict.answering import Model
from imbik.predict.parts import Part, Written

ATTEMPTS = 3
"""Processes that may die over one part before it is given up."""

_COPIES = 4  # a loaded model takes about so many times the bytes of its files


class Pool(Protocol):
    """What answers parts."""

    def submit(self, part: Part, path: Path) -> Future[Written]:
        """Answer a part, and write it to ``path``."""

    def __enter__(self) -> Pool: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class Here:
    """Answers in this process, one part after the other.

    Args:
        model, form, top: see :class:`imbik.predict.worker.Answerer`.
    """

    def __init__(self, model: Model, form: str, top: int) -> None:
        from imbik.predict.worker import Answerer

        self._answerer = Answerer(model, form, top)

    def submit(self, part: Part, path: Path) -> Future[Written]:
        """Answer a part now."""
        done: Future[Written] = Future()
        try:
            done.set_result(self._answerer.write(part.rows, path))
        except UserError as error:
            done.set_exception(error)
        return done

    def __enter__(self) -> Here:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass


class Worker(Protocol):
    """A process somewhere that has loaded the model, or will with its first part."""

    def ask(self, part: Part, path: Path) -> Written:
        """Have a part answered, and its file written.

        Raises:
            UserError: the worker says that its input is wrong.
            Died: it ended.
        """

    def kill(self) -> None:
        """End it at once."""

    def close(self) -> None:
        """End it when it has done what it does."""


class Workers:
    """Answers in several processes, each with a copy of the model.

    Args:
        start: starts one.
        workers: how many.
    """

    def __init__(self, start: Callable[[], Worker], workers: int) -> None:
        self._start = start
        self._threads = ThreadPoolExecutor(workers)
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()
        self._all: set[Worker] = set()
        self._stopped = False

    def submit(self, part: Part, path: Path) -> Future[Written]:
        """Answer a part in the next process that is free."""
        return self._threads.submit(self._answer, part, path)

    def _answer(self, part: Part, path: Path) -> Written:
        last: Exception | None = None
        # again with a new process: where memory is short the system ends the largest, not the one that was too much
        for _ in range(ATTEMPTS):
            if self._stopped:
                break
            try:
                # the one that answered last has the model in its caches
                worker = self._idle.get_nowait()
            except queue.Empty:
                worker = self._start()
                self._all.add(worker)
            try:
                written = worker.ask(part, path)
            except Died as death:
                worker.close()
                self._all.discard(worker)
                last = death
            except UserError:
                self._idle.put(worker)
                raise
            else:
                self._idle.put(worker)
                return written
        raise UserError(
            "the processes that answer these rows die",
            where=f"rows {part.first + 1} to {part.first + len(part.rows)}",
            found=f"{last} ({ATTEMPTS} times)",
            fix="give fewer --workers or fewer --batch-tokens if memory is short",
        ) from last

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._stopped = kind is not None
        if self._stopped:  # nobody waits for what is being answered
            for worker in list(self._all):
                worker.kill()
        self._threads.shutdown()
        for worker in list(self._all):
            worker.close()


class Process:
    """A running ``imbik.predict.worker`` of this machine.

    Args:
        model, form, top: see :class:`imbik.predict.worker.Answerer`.
    """

    def __init__(self, model: Model, form: str, top: int) -> None:
        self._child = Child("imbik.predict.worker", threads=model.threads or 1)
        with contextlib.suppress(BrokenPipeError):
            self._send((model, form, top))

    def _send(self, thing: object) -> None:
        pipe = self._child.process.stdin
        assert pipe is not None
        pickle.dump(thing, pipe, protocol=5)
        pipe.flush()

    def ask(self, part: Part, path: Path) -> Written:
        """Send a part and wait for its answer; the process writes the file."""
        pipe = self._child.process.stdout
        assert pipe is not None
        try:
            self._send((part.rows, path))
            answer: Written | UserError = pickle.load(pipe)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise Died(self._child.death()) from error
        if isinstance(answer, UserError):
            raise answer
        return answer

    def kill(self) -> None:
        """End the process at once."""
        self._child.process.kill()

    def close(self) -> None:
        """End the process when it has done what it does."""
        self._child.close()


def fitting(model: Model) -> int:
    """Return how many processes fit: one a core, as far as half of the memory holds copies of the model."""
    if model.is_checkpoint:  # PyTorch takes the cores, or the one GPU, itself
        return 1
    size = sum(file.stat().st_size for file in model.artefact.rglob("*") if file.is_file())
    memory = memory_bytes()
    return physical_cores() if memory is None else max(1, min(physical_cores(), memory // 2 // max(1, _COPIES * size)))
