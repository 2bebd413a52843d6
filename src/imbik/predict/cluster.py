"""Parts to answers on a Ray cluster: actors answer, this process alone reads rows, writes files and keeps the journal."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from imbik.errors import MissingExtra, UserError, first_line
from imbik.jobs.files import replacing
from imbik.jobs.trust import TRUST
from imbik.machine import worker_environment
from imbik.predict.answering import Model
from imbik.predict.parts import Part, Written
from imbik.predict.processes import Died, Workers
from imbik.predict.sources import Rows
from imbik.predict.worker import Answerer

LOCAL = "local"
"""In the place of an address: Ray is started on this machine, and ends with the run."""

_PATIENCE = 5.0  # seconds that the machine of an address gets to accept a connection


class Actor:
    """Lives in a process of Ray, on any machine: the model comes to it by the network, and what it answers goes back the same way.

    Args:
        files: of the artefact, by their paths in it.
        model, form, top: see :class:`imbik.predict.worker.Answerer`; the model's folder is where it is on the machine that asks.
    """

    def __init__(self, files: dict[str, bytes], model: Model, form: str, top: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="imbik-")
        root = Path(self._folder.name) / "model"
        # the same names below another root: what a manifest says of its files holds
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        self._job = (replace(model, artefact=root), form, top)
        self._answerer: Answerer | None = None

    def answer(self, rows: Rows) -> tuple[Written, bytes] | UserError:
        """Return the file of some rows' answers; a refusal is an answer too."""
        try:
            # once an actor, with its first part
            self._answerer = self._answerer or Answerer(*self._job)
            path = Path(self._folder.name) / "part"
            return self._answerer.write(rows, path), path.read_bytes()
        except UserError as error:
            return error


class RayWorker:
    """One actor, and the way to it.

    Args:
        files: what :class:`Actor` takes, already in Ray's store.
        model, form, top: the same.
    """

    def __init__(self, files: Any, model: Model, form: str, top: int) -> None:
        self._ray = _ray()
        threads = model.threads or 1
        # the libraries read it when they load; a trust that the user gave holds for the actors too
        passed = {name: value for name, value in worker_environment(threads).items() if name.endswith("_NUM_THREADS") or name == TRUST}
        kind = self._ray.remote(num_cpus=threads, runtime_env={"env_vars": passed})(Actor)
        self._actor = kind.remote(files, model, form, top)

    def ask(self, part: Part, path: Path) -> Written:
        """Send a part, wait for its answer, and write the file here."""
        try:
            answer = self._ray.get(self._actor.answer.remote(part.rows.loaded()))
        except self._ray.exceptions.RayError as error:
            raise Died(first_line(error)) from error
        if isinstance(answer, UserError):
            raise answer
        written: Written
        written, content = answer
        # this process alone writes: an actor that was taken for dead and answers after all harms no file
        with replacing(path) as temporary:
            temporary.write_bytes(content)
        return written

    def kill(self) -> None:
        """End the actor at once."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(self._actor)

    def close(self) -> None:
        """End the actor, which has nothing left to do."""
        self.kill()


@contextlib.contextmanager
def on_ray(address: str, model: Model, form: str, top: int, workers: int | None) -> Iterator[tuple[Workers, int]]:
    """Yield workers on a cluster, and how many; a Ray that was started for them ends with them.

    Args:
        address: as ``ray.init`` takes it (``host:6379``, ``ray://host:10001``, ``auto``), or :data:`LOCAL`.
        model, form, top: see :class:`Actor`.
        workers: actors; None: as many as the cluster has processors for.

    Raises:
        UserError: there is no such cluster, or it has fewer processors.
    """
    ray = _ray()
    threads = model.threads or 1
    begun = not ray.is_initialized()
    if begun:
        _connect(ray, address, None if workers is None else workers * threads)
    try:
        # node by node: an actor cannot take threads of two machines
        fitting = sum(int(({"CPU": 0} | node["Resources"])["CPU"]) // threads for node in ray.nodes() if node["Alive"])
        if fitting < (workers or 1):
            found = f"processors for {fitting} workers of {threads} threads"
            raise UserError("too few processors in the cluster", where="--ray", found=found, fix="give fewer --workers or fewer --threads")
        # put once, fetched once a machine
        files = ray.put({name: path.read_bytes() for name, path in _files(model.artefact)})
        count = workers or fitting
        with Workers(partial(RayWorker, files, model, form, top), count) as pool:
            yield pool, count
    finally:
        if begun:
            ray.shutdown()


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of an artefact with their names in it; links are followed, as loading it does."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path


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


def _ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ModuleNotFoundError as error:
        raise MissingExtra("ray") from error
    return ray
