"""Kernels on all cores that still answer in a forked process."""

from __future__ import annotations

import functools
import os
import types
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

import numba
from numba import njit

P = ParamSpec("P")
R = TypeVar("R")

_process = {"forked": False}


def _note_fork() -> None:
    """Remember, in a forked child, that GNU OpenMP's threads were lost: its next parallel region would kill or hang it."""
    try:
        _process["forked"] = _process["forked"] or numba.threading_layer() == "omp"
    except ValueError:  # no thread was started before the fork, so the child may start its own
        return


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


class ParallelKernel(Generic[P, R]):
    """A compiled function with ``prange`` loops: on all threads, or on one where a fork has lost the others.

    Servers fork after they have loaded and perhaps asked a model (``gunicorn --preload``, ``ProcessPoolExecutor``).
    Both variants run the same chunks in the same order of sums, so they give the same numbers.
    """

    def __init__(self, function: Callable[P, R], fastmath: bool | set[str]) -> None:
        functools.update_wrapper(self, function)
        self._parallel = njit(cache=True, parallel=True, fastmath=fastmath)(function)
        # numba's cache knows a function by its qualified name and not by its options: the second needs its own.
        twin = types.FunctionType(function.__code__, function.__globals__, function.__name__)
        twin.__qualname__ = f"{function.__qualname__}_on_one_thread"
        twin.__module__ = function.__module__
        self._alone = njit(cache=True, fastmath=fastmath)(twin)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        result: R = (self._alone if _process["forked"] else self._parallel)(*args, **kwargs)
        return result


@njit(cache=True)  # type: ignore[untyped-decorator]
def sum_in_order(parts: Any) -> float:
    """Return the sum of the parts of a loop, first to last: numba would divide ``parts.sum()`` among the threads."""
    total = 0.0
    for part in parts:
        total += part
    return total


def parallel(fastmath: bool | set[str] = False) -> Callable[[Callable[P, R]], ParallelKernel[P, R]]:
    """Decorator: compile a function with ``prange`` loops; see :class:`ParallelKernel`."""
    return lambda function: ParallelKernel(function, fastmath)
