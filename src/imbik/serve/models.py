"""The artefacts of a server: loaded, warm, and replaced by a new version while requests go on."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imbik.errors import UserError
from imbik.jobs.files import sha256
from imbik.runtime.images import ImagePredictor
from imbik.runtime.manifest import MANIFEST_FILE, verify
from imbik.runtime.predictor import Predictor, load_artefact
from imbik.serve.batcher import Batcher
from imbik.serve.metrics import Metrics
from imbik.serve.settings import Limits, Served
from imbik.tasks.outputs import IMAGES, TEXTS
from imbik.tasks.registry import task_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Version:
    """What is served of a folder: its manifest's digest, and the file as it lay there."""

    digest: str
    stamp: tuple[int, int, int]

    @property
    def short(self) -> str:
        """The digest as clients see it."""
        return self.digest[:12]


@dataclass(frozen=True)
class Loaded:
    """An artefact that is ready to answer."""

    version: Version
    predictor: Predictor


def load(path: Path, threads: int) -> Loaded:
    """Load an artefact, verified and warm.

    Args:
        path: its folder.
        threads: compute threads.

    Raises:
        UserError: it is none, is damaged, or cannot run here.
    """
    # looked at before it is read: a version that lands meanwhile is seen at the next look
    stamp = _stamp(path) if (path / MANIFEST_FILE).is_file() else (0, 0, 0)
    verify(path)
    predictor = load_artefact(path, threads=threads)
    predictor.warm_up()
    if isinstance(predictor, ImagePredictor):
        processor = predictor.processor
        blank: Any = [np.zeros((processor.height, processor.width, processor.channels), np.uint8)]
        predictor.predict(blank)
    else:
        predictor.predict(["a"], ["a"] if predictor.pairs or task_of(predictor.task).pairs else None)
    return Loaded(Version(sha256(path / MANIFEST_FILE), stamp), predictor)


class Model:
    """An artefact under a name. :attr:`batcher` answers; a new version takes its place when it is ready.

    Args:
        served: name and folder.
        threads: compute threads.
        limits: of its queue.
        metrics: where it is counted.
        loaded: the artefact, where it is loaded already.
    """

    def __init__(self, served: Served, threads: int, limits: Limits, metrics: Metrics, loaded: Loaded | None = None) -> None:
        self.name, self.path = served.name, served.path
        self._threads, self._limits, self._metrics = threads, limits, metrics
        self._seen: tuple[int, int, int] | None = None
        self.version, self.batcher = self._load(loaded)
        self._old: set[asyncio.Task[None]] = set()

    def _load(self, loaded: Loaded | None = None) -> tuple[Version, Batcher]:
        found = loaded or load(self.path, self._threads)
        self._seen = found.version.stamp
        return found.version, Batcher(found.predictor, self.name, self._limits, self._metrics)

    @property
    def predictor(self) -> Predictor:
        """The version that answers now."""
        return self.batcher.predictor

    @property
    def reads_images(self) -> bool:
        """Whether the version that answers now reads images."""
        return isinstance(self.predictor, ImagePredictor)

    def about(self) -> dict[str, Any]:
        """Return what a client may know of the model, in JSON's own types."""
        return {
            "name": self.name,
            "version": self.version.short,
            "task": self.predictor.task,
            "reads": IMAGES if self.reads_images else TEXTS,
            "labels": list(self.predictor.labels),
            "max_length": self.predictor.max_length,
            "pairs": self.predictor.pairs,
            "engine": self.predictor.engine,
        }

    async def refresh(self) -> None:
        """Load the folder again where its manifest is another one; until the new version is ready, the old one answers.

        A folder that is incomplete (it is being copied) or wrong is logged once, and the old version stays.
        """
        try:
            stamp = _stamp(self.path)
        except OSError:
            return
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            version, batcher = await asyncio.get_running_loop().run_in_executor(None, self._load)
        except (UserError, OSError) as error:
            self._metrics.reloads.labels(self.name, "refused").inc()
            _log.error("a new version is not served, the old one stays: %s", error, extra={"model": self.name})
            return
        old, self.batcher, self.version = self.batcher, batcher, version
        self._metrics.reloads.labels(self.name, "done").inc()
        _log.info("a new version is served", extra={"model": self.name, "version": version.short})
        closing = asyncio.create_task(old.close())
        self._old.add(closing)
        closing.add_done_callback(self._old.discard)

    async def close(self) -> None:
        """Answer what waits and end."""
        await asyncio.gather(self.batcher.close(), *self._old)


def _stamp(folder: Path) -> tuple[int, int, int]:
    """Return what changes when a folder is replaced or a link points elsewhere."""
    found = os.stat(folder / MANIFEST_FILE)
    return found.st_mtime_ns, found.st_ino, found.st_size
