"""A headless Chromium with the network off, asked over pipes (the DevTools protocol); no package is needed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# the protocol's pipes are descriptors 3 and 4, which may be taken: first out of their way
_LAUNCHER = """
import fcntl, os, sys
hears, says = (fcntl.fcntl(int(word), fcntl.F_DUPFD, 10) for word in sys.argv[1:3])
os.dup2(hears, 3), os.dup2(says, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium() -> str | None:
    """Return the browser's path, or None where there is none."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


def opened_version() -> str:
    """Return what the browser says of itself."""
    path = chromium()
    return "" if path is None else subprocess.run([path, "--version"], capture_output=True, text=True).stdout.strip()


class Browser:
    """One tab.

    Args:
        to, back: file descriptors.
    """

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back, self._last, self._session = to, os.fdopen(back, "rb"), 0, None
        self._rest = b""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.requests: list[str] = []
        self.ask("Network.enable")
        self.ask("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._last += 1
        session = {} if self._session is None else {"sessionId": self._session}
        os.write(self._to, json.dumps({"id": self._last, "method": method, "params": parameters} | session).encode() + b"\0")
        while True:
            message = self._next()
            if message.get("method") == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            if message.get("id") == self._last:
                assert "error" not in message, message
                return message["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = self._back.read1(1 << 20)
            assert more, "the browser ended"
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def run(self, code: str) -> Any:
        """Return what an expression gives; a promise is awaited."""
        done = self.ask("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def open(self, page: Path) -> None:
        """Open a file, and wait until it is there."""
        self.ask("Page.navigate", url=page.resolve().as_uri())
        # a script that was put off until the page is parsed has then run
        while not self.run("document.readyState === 'complete' && 'imbik' in globalThis"):
            pass


@contextmanager
def browsing() -> Iterator[Browser]:
    """Yield a tab of a browser that ends afterwards."""
    path = chromium()
    assert path is not None
    hears, to = os.pipe()
    back, says = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        words = [path, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", f"--user-data-dir={home}"]
        launcher = [sys.executable, "-c", _LAUNCHER, str(hears), str(says)]
        process = subprocess.Popen([*launcher, *words], pass_fds=(hears, says), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(hears)
        os.close(says)
        try:
            yield Browser(to, back)
        finally:
            process.kill()
            process.wait()
            os.close(to)
