"""Parts under way: handed to what answers them, remembered when they are whole, put down in order."""

from __future__ import annotations

import contextlib
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import BinaryIO

from imbik.errors import UserError
from imbik.jobs.progress import Task
from imbik.predict.formats import append
from imbik.predict.parts import Part, Written
from imbik.predict.processes import Pool
from imbik.predict.store import Store


class Work:
    """Parts that are being answered, and those that are.

    Args:
        store: keeps them.
        pool: answers.
        bar: shows progress.
        out: gets the answers in order, where no file is made of them at the end.
        skip_broken: whether finished parts may lack images that could not be read.
    """

    def __init__(self, store: Store, pool: Pool, bar: Task, out: BinaryIO | None, *, skip_broken: bool) -> None:
        self.store, self.pool, self.bar, self.out, self.skip_broken = store, pool, bar, out, skip_broken
        self.pending: dict[Future[Written], tuple[int, int, str]] = {}
        self.count = self.earlier = self._shown = 0
        self._ready: dict[int, Written] = {}
        self._failed: dict[int, BaseException] = {}

    def take(self, part: Part, most: int) -> None:
        """Let a part be answered unless it is; waits while ``most`` are under way."""
        size, digest = len(part.rows), part.digest()
        self.count = part.number + 1
        if self.store.has(part, digest, skip_broken=self.skip_broken):
            self.earlier += self.store.rows_of(part.number)
            self.bar.advance(size)
            return
        self.store.begin(part)
        self.pending[self.pool.submit(part, self.store.path(part.number))] = (part.number, size, digest)
        self.settle(most - 1)

    def settle(self, most: int) -> None:
        """Wait until at most so many parts are under way.

        Raises:
            UserError: one could not be answered; of several the first in the order of the rows, whichever ended first.
        """
        while len(self.pending) > most:
            # they end in any order; a part counts when its file is whole
            done, _ = wait(self.pending, return_when=FIRST_COMPLETED)
            for future in done:
                number, size, digest = self.pending.pop(future)
                if (error := future.exception()) is not None:
                    self._failed[number] = error
                    continue
                self.store.add(number, digest, future.result())
                self._ready[number] = future.result()
                self.bar.advance(size)
            self._show()
            under_way = [number for number, _, _ in self.pending.values()]
            if self._failed and min(self._failed) < min(under_way, default=self.count):
                raise self._failed.pop(min(self._failed))

    def keep_what_is_answered(self) -> None:
        """Wait for the parts under way behind one that failed."""
        while self.pending:
            with contextlib.suppress(UserError):
                self.settle(most=0)

    def _show(self) -> None:
        """Hand on the parts that are next, and forget them."""
        while self.out is not None and self._shown in self._ready:
            path, header = self.store.path(self._shown), self._ready.pop(self._shown).header
            append(path, header if self._shown else 0, self.out)
            path.unlink()
            self._shown += 1
        if self.out is not None:
            self.out.flush()
