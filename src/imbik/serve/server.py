"""Processes and sockets: one worker in this process, or several under uvicorn's supervisor."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from imbik.errors import UserError
from imbik.serve.settings import Settings
from imbik.types import Say

if TYPE_CHECKING:
    from imbik.serve.models import Loaded

STOP_S = 30
"""Seconds that accepted requests get when the server is told to stop."""

KEEP_ALIVE_S = 75
"""Seconds that a connection may wait for its next request: more than the 60 of common proxies, which would else now and then send a request
over a connection that is being closed."""


def serve(settings: Settings, host: str, port: int, say: Say) -> None:
    """Serve until SIGTERM or Ctrl-C; what was accepted is answered first.

    Args:
        settings: artefacts and limits.
        host: address to listen at.
        port: to listen at; 0: one that is free.
        say: told the address, once it listens.

    Raises:
        UserError: an artefact cannot be served, or the address cannot be listened at.
        MissingExtra: the packages of ``imbik[serve]`` are not installed.
    """
    loaded = _checked(settings)
    # a worker must not run a module of the folder that the server was started in
    os.environ["PYTHONSAFEPATH"] = "1"
    with _counted_together(settings.workers), _listening(host, port) as listener:
        say(f"http://{_shown(host)}:{listener.getsockname()[1]}/")
        _run(settings, loaded, listener)


def _checked(settings: Settings) -> dict[str, Loaded]:
    """Refuse an artefact now and in one message, not in every worker; return what the one worker need not load again."""
    from imbik.serve.models import load

    loaded = {one.name: load(one.path, settings.compute_threads) for one in settings.models}
    return loaded if settings.workers == 1 else {}


def _run(settings: Settings, loaded: Mapping[str, Loaded], listener: socket.socket) -> None:
    from uvicorn.config import Config
    from uvicorn.server import Server
    from uvicorn.supervisors.multiprocess import Multiprocess

    from imbik.serve.app import Factory
    from imbik.serve.logs import log_config
    from imbik.serve.protocol import BoundedHttp

    options: dict[str, Any] = {"proxy_headers": False, "server_header": False, "access_log": False, "ws": "none", "lifespan": "on"}
    config = Config(
        Factory(settings, loaded),
        factory=True,
        http=BoundedHttp,
        workers=settings.workers,
        log_config=log_config(),
        limit_concurrency=settings.limits.connections,
        timeout_graceful_shutdown=STOP_S,
        timeout_keep_alive=KEEP_ALIVE_S,
        **options,
    )
    if settings.workers == 1:
        Server(config).run(sockets=[listener])
    else:
        Multiprocess(config, sockets=[listener]).run()


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """Give a bound socket; workers that start again find it still open."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise UserError(
                "this address cannot be listened at",
                where="imbik serve",
                found=f"{host}:{port}: {error.strerror}",
                fix="choose another --port or --host",
            ) from None
        listener.set_inheritable(True)
        yield listener
    finally:
        listener.close()


@contextmanager
def _counted_together(workers: int) -> Iterator[None]:
    """Give several workers a folder in which they count together; it goes with the server."""
    if workers == 1:
        yield
        return
    folder = tempfile.mkdtemp(prefix="imbik-serve-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    try:
        yield
    finally:
        del os.environ["PROMETHEUS_MULTIPROC_DIR"]
        shutil.rmtree(folder, ignore_errors=True)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
