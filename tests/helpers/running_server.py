"""A real server in a process of its own, and what tests ask it."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Server:
    """A running server."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process, self.log = process, log
        line = ""
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"http://[\d.]+:(\d+)/", line):
                self.port = int(found[1])
                break
        else:
            raise AssertionError(f"{line} {log.read_text()}")
        self.until(lambda: self.ask("GET", "/health/ready")[0] == 200)

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body if isinstance(body, bytes | None) else json.dumps(body), headers or {})
            answer = connection.getresponse()
            text = answer.read()
            kind = answer.headers.get("content-type", "")
            return answer.status, json.loads(text) if "json" in kind else text.decode(), {k.lower(): v for k, v in answer.headers.items()}
        finally:
            connection.close()

    def predict(self, inputs: Any, **more: Any) -> Any:
        status, answer, _ = self.ask("POST", "/predict", {"inputs": inputs, **more})
        assert status == 200, answer
        return answer

    def raw(self, *parts: bytes, pause: float = 0.0) -> bytes:
        """Send bytes as they are and return what comes back until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            answer = b""
            try:
                for part in parts:
                    connection.sendall(part)
                    time.sleep(pause)
                while more := connection.recv(65536):
                    answer += more
            except (ConnectionResetError, BrokenPipeError):
                pass  # closed before all of it was sent
            return answer

    def until(self, holds: Any, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if holds():
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.05)
        raise AssertionError(f"it did not come to hold: {self.log.read_text()[-2000:]}")

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@contextmanager
def running(folder: Path, *arguments: str, code: str = "", cwd: Path | None = None) -> Iterator[Server]:
    command = [sys.executable, "-c", code] if code else [sys.executable, "-P", "-m", "imbik", "serve", "--port", "0", *arguments]
    log = folder / "log"
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=cwd)
    try:
        yield Server(process, log)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
