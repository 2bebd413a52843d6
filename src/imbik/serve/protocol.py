"""HTTP for impatient servers: a client that sends its head too slowly, or too much of it, is cut off."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from imbik.serve.settings import Limits


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 with bounds on the head of a request, which uvicorn leaves to a proxy before it."""

    def __init__(self, config: Config, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self.limits: Limits = config.app.settings.limits  # type: ignore[union-attr]  # of imbik.serve.app.Factory

    def connection_made(self, transport: Any) -> None:
        """Start the clock: a connection that says nothing is closed."""
        super().connection_made(transport)
        self._head_bytes = 0
        self._clock: asyncio.TimerHandle | None = None
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes of a head; over the limit the answer is 431."""
        if self._clock is not None:
            self._head_bytes += len(data)
            # one read may end the head and bring some of the body: 256 KiB, as asyncio reads, are let through
            if self._head_bytes > self.limits.header_bytes + 2**18:
                self._refuse(b"431 Request Header Fields Too Large")
                return
        if not self.transport.is_closing():
            super().data_received(data)

    def on_message_begin(self) -> None:
        """Start the clock for the next request of the connection."""
        super().on_message_begin()
        if self._clock is None:
            self._start_clock()

    def on_headers_complete(self) -> None:
        """Stop the clock: the body is read under a time limit of its own. A head over the limit is answered with 431."""
        self._stop_clock()
        if sum(len(name) + len(value) for name, value in self.headers) + len(self.url) > self.limits.header_bytes:
            self._refuse(b"431 Request Header Fields Too Large")
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body, unless its request was refused."""
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End a body, unless its request was refused."""
        if not self.transport.is_closing():
            super().on_message_complete()

    def _start_clock(self) -> None:
        self._head_bytes = 0
        self._clock = self.loop.call_later(self.limits.body_s, self._refuse, b"408 Request Timeout")

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _refuse(self, status: bytes) -> None:
        self._stop_clock()
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            self.transport.close()
