"""Workers as actors of Ray."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from imbik.jobs.cluster import awaited, end, remote_class
from imbik.recommend.cluster.parts import Part
from imbik.recommend.cluster.worker import Worker


class Block:
    """Lives in a process of Ray, on any machine.

    Args:
        part: the ratings that it holds.
        threads: that it computes with.
    """

    def __init__(self, part: Part, threads: int) -> None:
        self._worker = Worker(part, threads)

    def answer(self, question: str, arguments: tuple[Any, ...]) -> Any:
        """Return what the worker answers."""
        return getattr(self._worker, question)(*arguments)


class RayHandle:
    """One actor, and the way to it."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray, self._actor = ray, actor

    def ask(self, question: str, arguments: Any) -> Callable[[], Any]:
        """Send a question now; return what waits for the answer."""
        return partial(awaited, self._ray, self._actor.answer.remote(question, arguments))

    def end(self) -> None:
        """End the actor."""
        end(self._ray, self._actor)


class RayTransport:
    """Actors of a cluster.

    Args:
        ray: the package, connected.
        threads: of each.
    """

    def __init__(self, ray: Any, threads: int) -> None:
        self._ray, self._threads = ray, threads
        self._kind = remote_class(ray, Block, threads)

    def start(self, part: Part) -> RayHandle:
        """Start an actor; its part goes to it over the network."""
        return RayHandle(self._ray, self._kind.remote(part, self._threads))

    def share(self, arguments: tuple[Any, ...]) -> Any:
        """Put arguments into Ray's store, from where each machine fetches them once."""
        return self._ray.put(arguments)
