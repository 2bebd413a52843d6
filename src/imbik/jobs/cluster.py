"""A Ray cluster as any job uses it: connected to, looked at, and left as it was found."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from imbik.errors import MissingExtra, UserError, first_line
from imbik.jobs.child import Died
from imbik.jobs.trust import TRUST
from imbik.machine import worker_environment

LOCAL = "local"
"""In the place of an address: Ray is started on this machine, and ends with the run."""

_PATIENCE = 5.0  # seconds that the machine of an address gets to accept a connection


@contextlib.contextmanager
def connected(address: str, threads: int, workers: int | None) -> Iterator[tuple[Any, int]]:
    """Yield the package ``ray``, connected, and how many actors of so many threads are to be started; a Ray that was begun here ends.

    Args:
        address: as ``ray.init`` takes it (``host:6379``, ``ray://host:10001``, ``auto``), or :data:`LOCAL`.
        threads: of an actor.
        workers: actors; None: as many as the cluster has processors for.

    Raises:
        UserError: there is no such cluster, or it has fewer processors.
    """
    ray = ray_package()
    begun = not ray.is_initialized()
    if begun:
        _connect(ray, address, None if workers is None else workers * threads)
    try:
        # node by node: an actor cannot take threads of two machines
        fitting = sum(int(({"CPU": 0} | node["Resources"])["CPU"]) // threads for node in ray.nodes() if node["Alive"])
        if fitting < (workers or 1):
            found = f"processors for {fitting} workers of {threads} threads"
            raise UserError("too few processors in the cluster", where="--ray", found=found, fix="give fewer --workers or fewer --threads")
        yield ray, workers or fitting
    finally:
        if begun:
            ray.shutdown()


def remote_class(ray: Any, kind: type, threads: int) -> Any:
    """Return a class whose instances live in processes of the cluster that compute with so many threads."""
    # the libraries read it when they load; a trust that the user gave holds for the actors too
    passed = {name: value for name, value in worker_environment(threads).items() if name.endswith("_NUM_THREADS") or name == TRUST}
    return ray.remote(num_cpus=threads, runtime_env={"env_vars": passed})(kind)


def awaited(ray: Any, reference: Any) -> Any:
    """Return what an actor answers.

    Raises:
        Died: it ended before it did.
    """
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        raise Died(first_line(error)) from error


def end(ray: Any, actor: Any) -> None:
    """End an actor at once."""
    with contextlib.suppress(ray.exceptions.RayError):
        ray.kill(actor)


def ray_package() -> Any:
    """Return the package ``ray``.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import ray
        import ray.exceptions
    except ModuleNotFoundError as error:
        raise MissingExtra("ray") from error
    return ray


def _connect(ray: Any, address: str, processors: int | None) -> None:
    # Ray would tell its makers of each cluster that it starts
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == LOCAL:
        # "local" and not None: a cluster that an environment variable names is not meant
        ray.init(address=LOCAL, num_cpus=processors, include_dashboard=False, **quiet)
        return
    try:
        _reach(address)
        ray.init(address=address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError("no Ray cluster answers", where="--ray", found=f"{address}: {first_line(error)}",
                        expected="HOST:PORT of its head, ray://HOST:PORT, auto, or local") from error  # fmt: skip


def _reach(address: str) -> None:
    """Fail at once where nobody listens; Ray itself tries for minutes, and ends the process."""
    place = urlsplit(address if "://" in address else f"ray://{address}")
    if place.port is not None:
        socket.create_connection((place.hostname or "", place.port), _PATIENCE).close()
