"""What a server counts of itself, for Prometheus. Never a user's text."""

from __future__ import annotations

import os

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable of the folder in which several workers count together; :mod:`imbik.serve.server` sets it."""

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The counters of a worker process.

    Attributes:
        requests: by path and status.
        seconds: from the end of the head to the answer, by path.
        refused: by reason.
        queue: texts that wait, by model.
        batches: texts computed at once, by model.
        reloads: of new versions, by model and result.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("imbik_requests", "Requests answered.", ["path", "status"], registry=self.registry)
        self.seconds = Histogram("imbik_request_seconds", "Seconds of a request.", ["path"], buckets=_SECONDS, registry=self.registry)
        self.refused = Counter("imbik_refused", "Requests refused.", ["reason"], registry=self.registry)
        self.queue = Gauge("imbik_queue_texts", "Texts that wait.", ["model"], registry=self.registry, multiprocess_mode="livesum")
        self.batches = Histogram("imbik_batch_texts", "Texts computed at once.", ["model"], buckets=_TEXTS, registry=self.registry)
        self.reloads = Counter("imbik_reloads", "New versions of an artefact.", ["model", "result"], registry=self.registry)

    def page(self) -> tuple[bytes, str]:
        """Return the numbers as Prometheus reads them, of all workers, and their content type."""
        registry = self.registry
        if SHARED in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST
