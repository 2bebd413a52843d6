"""How many threads training takes: what the quota of a container allows, and what a short trial finds best beside other work.

Threads of one sum wait for the slowest of them. Where another process takes a part of a core, or a control group stops them in turn, two
threads are slower than one.
"""

from __future__ import annotations

import logging
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from imbik.locale.notes import sentence
from imbik.machine import physical_cores
from imbik.types import Note

_log = logging.getLogger(__name__)

LONG = 2e12
"""Floating-point operations of a training from which on a trial is worth its time: some ten seconds of one core."""

_TIE = 0.9  # of the speed of one: beside other work several threads get more of the machine than a trial so short can see
_ROUNDS, _SECONDS = 5, 0.05


@contextmanager
def chosen_threads(operations: float, before: int = 0) -> Iterator[int]:
    """Compute with as many threads as serve best; gives their number, and puts the old one back.

    Args:
        operations: of the work; below :data:`LONG` nothing is tried, and the quota alone counts.
        before: what an earlier part of the same work took, so that its sums come out the same; 0: it is the first.

    Where the user has set ``OMP_NUM_THREADS``, nothing is changed.
    """
    old = torch.get_num_threads()
    most = min(old, physical_cores())
    if "OMP_NUM_THREADS" in os.environ:
        most = before = old
    threads = min(before, most) if before else best_of(most, _rate) if operations >= LONG and most > 1 else most
    torch.set_num_threads(threads)
    try:
        yield threads
    finally:
        torch.set_num_threads(old)


def best_of(most: int, rate: Callable[[int], float]) -> int:
    """Return 1 or ``most`` threads: one where several are clearly slower, and says so.

    Args:
        most: threads that may run at a time.
        rate: threads -> work a second.

    >>> best_of(4, {1: 10.0, 4: 30.0}.__getitem__)
    4
    """
    # in turn, so that a disturbance meets both
    found = [(rate(1), rate(most)) for _ in range(_ROUNDS)]
    one, many = (statistics.median(column) for column in zip(*found, strict=True))
    if many >= _TIE * one:
        _log.info("%d threads: %.2f times the speed of one", most, many / one)
        return most
    _log.warning(sentence(Note.of("threads", most=most, times=many / one)))
    return 1


def _rate(threads: int) -> float:
    """Return how many layers of a small Transformer a second are computed in so many threads: products, and what lies between them."""
    torch.set_num_threads(threads)
    rows, inner = torch.ones(256, 384), torch.ones(384, 1536)
    done, begin = 0, time.perf_counter()
    with torch.no_grad():
        while (spent := time.perf_counter() - begin) < _SECONDS or not done:
            states = torch.nn.functional.gelu(rows @ inner) @ inner.T
            torch.nn.functional.layer_norm(states + rows, (384,))
            done += 1
    return done / spent
