"""Peak memory of a block of code, as the process sees it."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self


class PeakMemory:
    """Context manager: samples the resident size every 5 ms.

    Attributes:
        extra: the peak above the start, in bytes; 0 where it cannot be read.
    """

    def __init__(self) -> None:
        self.extra = 0
        self._done = threading.Event()

    def __enter__(self) -> Self:
        self._start = resident()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()
        self.extra = max(self.extra, resident() - self._start)

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            self.extra = max(self.extra, resident() - self._start)


def resident() -> int:
    """Return the resident bytes of this process."""
    try:
        import psutil
    except ModuleNotFoundError:
        return _from_proc()
    return int(psutil.Process().memory_info().rss)


def _from_proc() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * 4096
    except OSError:
        return 0
