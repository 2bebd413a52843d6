"""Progress of long work: a bar on a terminal, plain lines elsewhere, nothing when silent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichBar


class Task(Protocol):
    """One piece of running work."""

    def advance(self, n: int = 1, note: str = "") -> None:
        """Count ``n`` more units as done; ``note`` (a loss, say) is shown beside the bar."""


class Progress(Protocol):
    """Where running work is shown; :class:`Bars`, :class:`Lines` and :class:`Silent` are the three kinds."""

    def track(self, what: str, total: int, done: int = 0) -> AbstractContextManager[Task]:
        """Open a task of ``total`` units of which ``done`` are finished already (resumed work)."""


class _Line:
    """Prints at most one line every ``every`` seconds, the first only once the work has taken two."""

    def __init__(
        self, console: Console, what: str, total: int, done: int, translate: Callable[[str], str] = str, every: float = 10.0
    ) -> None:
        self.console, self.what, self.total, self.done, self.first = console, what, total, done, done
        self.translate, self.every, self.start = translate, every, time.monotonic()
        self.next = self.start + 2.0

    def advance(self, n: int = 1, note: str = "") -> None:
        self.done += n
        now = time.monotonic()
        if now < self.next:
            return
        self.next = now + self.every
        rate = (self.done - self.first) / max(now - self.start, 1e-9)
        left = (self.total - self.done) / rate if rate > 0 else 0.0
        line = self.translate(f"{self.done}/{self.total}, {left:.0f} s left")
        tail = f" · {self.translate(note)}" if note else ""
        self.console.print(f"  {self.what}: {line}{tail}", highlight=False, markup=False, soft_wrap=True)


class Lines:
    """Plain lines, for output that is not a terminal."""

    def __init__(self, console: Console, translate: Callable[[str], str] = str) -> None:
        self.console, self.translate = console, translate

    @contextmanager
    def track(self, what: str, total: int, done: int = 0) -> Iterator[Task]:
        yield _Line(self.console, self.translate(what), total, done, self.translate)


class Bars:
    """Rich progress bars with the time left, for a terminal."""

    def __init__(self, console: Console, translate: Callable[[str], str] = str) -> None:
        self.console, self.translate = console, translate

    @contextmanager
    def track(self, what: str, total: int, done: int = 0) -> Iterator[Task]:
        translate = self.translate
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with RichBar(*columns, console=self.console, transient=True) as bar:
            identifier = bar.add_task(translate(what), total=total, completed=done, note="")

            class _Bar:
                def advance(self, n: int = 1, note: str = "") -> None:
                    bar.update(identifier, advance=n)
                    if note:
                        bar.update(identifier, note=translate(note))

            yield _Bar()


class Silent:
    """Shows nothing: tests and programs that bring their own display."""

    @contextmanager
    def track(self, what: str, total: int, done: int = 0) -> Iterator[Task]:
        class _Nothing:
            def advance(self, n: int = 1, note: str = "") -> None:
                pass

        yield _Nothing()


def progress_for(console: Console, translate: Callable[[str], str] = str) -> Progress:
    """Bars on a terminal, lines elsewhere; ``translate`` says what the work is, and its notes, in the reader's language."""
    return Bars(console, translate) if console.is_terminal else Lines(console, translate)
