"""Parts to answers on a Ray cluster: actors answer, this process alone reads rows, writes files and keeps the journal."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from imbik.errors import UserError
from imbik.jobs.cluster import awaited, connected, end, ray_package, remote_class
from imbik.jobs.files import replacing
from imbik.predict.answering import Model
from imbik.predict.parts import Part, Written
from imbik.predict.processes import Workers
from imbik.predict.sources import Rows
from imbik.predict.worker import Answerer


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
        self._ray = ray_package()
        self._actor = remote_class(self._ray, Actor, model.threads or 1).remote(files, model, form, top)

    def ask(self, part: Part, path: Path) -> Written:
        """Send a part, wait for its answer, and write the file here."""
        answer = awaited(self._ray, self._actor.answer.remote(part.rows.loaded()))
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
        end(self._ray, self._actor)

    def close(self) -> None:
        """End the actor, which has nothing left to do."""
        self.kill()


@contextlib.contextmanager
def on_ray(address: str, model: Model, form: str, top: int, workers: int | None) -> Iterator[tuple[Workers, int]]:
    """Yield workers on a cluster, and how many; a Ray that was started for them ends with them.

    Args:
        address: as ``ray.init`` takes it (``host:6379``, ``ray://host:10001``, ``auto``), or :data:`imbik.jobs.cluster.LOCAL`.
        model, form, top: see :class:`Actor`.
        workers: actors; None: as many as the cluster has processors for.

    Raises:
        UserError: there is no such cluster, or it has fewer processors.
    """
    with connected(address, model.threads or 1, workers) as (ray, count):
        # put once, fetched once a machine
        files = ray.put({name: path.read_bytes() for name, path in _files(model.artefact)})
        with Workers(partial(RayWorker, files, model, form, top), count) as pool:
            yield pool, count


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of an artefact with their names in it; links are followed, as loading it does."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path
