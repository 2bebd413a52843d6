"""All workers asked at once, and those that die put back to where they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from imbik.errors import UserError
from imbik.jobs.child import Died
from imbik.recommend.cluster.parts import Part
from imbik.recommend.cluster.worker import Given, Worker

ATTEMPTS = 3
"""Workers that may die over one part and question before the fit is given up."""


class Handle(Protocol):
    """The way to one worker."""

    def ask(self, question: str, arguments: Any) -> Callable[[], Any]:
        """Send a question, a method of :class:`Worker` with its shared arguments; return what waits for the answer.

        What waits raises ``Died`` when the worker has ended.
        """

    def end(self) -> None:
        """End the worker."""


class Transport(Protocol):
    """How workers are reached."""

    def start(self, part: Part) -> Handle:
        """Start a worker."""

    def share(self, arguments: tuple[Any, ...]) -> Any:
        """Put arguments where all workers can read them."""


class Team:
    """Workers that hold all users, and answer together.

    Between two questions a worker keeps nothing but the rows that it drew last, and these follow from what they were drawn from. So
    one that dies is replaced: its part is sent again, its last draw is repeated, and then the question; the fit is the same to the last
    bit.

    Args:
        transport: how workers are reached.
        part: gives the part of a worker by its number.
        workers: how many.
    """

    def __init__(self, transport: Transport, part: Callable[[int], Part], workers: int) -> None:
        self._transport, self._part = transport, part
        self._handles = [transport.start(part(k)) for k in range(workers)]
        self._given: Any = None
        self.replaced = 0

    def draw(self, given: Given) -> list[Any]:
        """Have all users drawn; return the answers of :meth:`Worker.draw` in the order of the parts."""
        self._given = self._transport.share((given,))
        return self._ask_all("draw", self._given)

    def ask(self, question: str, *arguments: Any) -> list[Any]:
        """Ask all workers; return their answers in the order of the parts."""
        return self._ask_all(question, self._transport.share(arguments))

    def _ask_all(self, question: str, shared: Any) -> list[Any]:
        # all are asked before the first is waited for
        waiting = [handle.ask(question, shared) for handle in self._handles]
        return [self._answer(k, answer, question, shared) for k, answer in enumerate(waiting)]

    def _answer(self, number: int, wait: Callable[[], Any], question: str, shared: Any) -> Any:
        death: Died | None = None
        for _ in range(ATTEMPTS):
            try:
                return wait()
            except Died as error:
                death = error
                self.replaced += 1
                self._handles[number].end()
                self._handles[number] = handle = self._transport.start(self._part(number))
                # a draw needs nothing of what was before; other questions need the rows
                repeated = question != "draw" and self._given is not None
                wait = _after(handle, self._given if repeated else None, question, shared)
        raise UserError(
            "the workers of the fit die", where=f"part {number + 1} of {len(self._handles)}", found=f"{death} ({ATTEMPTS} times)",
            fix="give more --workers, so that each holds less, if memory is short",
        ) from death  # fmt: skip

    def end(self) -> None:
        """End all workers."""
        for handle in self._handles:
            handle.end()


def _after(handle: Handle, given: Any, question: str, shared: Any) -> Callable[[], Any]:
    """Return what repeats a draw, unless ``given`` is None, and then waits for the answer of a question."""

    def wait() -> Any:
        if given is not None:
            handle.ask("draw", given)()
        return handle.ask(question, shared)()

    return wait


class LocalHandle:
    """A worker that is an object of this process."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def ask(self, question: str, arguments: Any) -> Callable[[], Any]:
        """Return what computes the answer."""
        return lambda: getattr(self._worker, question)(*arguments)

    def end(self) -> None:
        """Do nothing: the worker is an object like any other."""


class LocalTransport:
    """Workers of this process, one after the other.

    Args:
        threads: of each; 0: all cores.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def start(self, part: Part) -> LocalHandle:
        """Make a worker."""
        return LocalHandle(Worker(part, self._threads))

    def share(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments: they are here."""
        return arguments
