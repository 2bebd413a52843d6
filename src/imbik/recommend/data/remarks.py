"""What is odd about ratings and may not be what was meant: told, never changed."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from imbik.tasks.labels.names import value_of

_WORDS = ("none", "nan", "null", "na", "n/a", "<na>", "nat")
_ROUNDED = re.compile(r"\d([.,]\d+)?E\+\d{2,3}")  # what a spreadsheet makes of a long number
_COARSE = 1e-3  # of the standard deviation: a rounding to float32 above this is told
_LIKED = 3.0  # scales that reach so far begin at 0 or 1: a single value of -1 below them says that there is no rating


def remark(text: str) -> str:
    """Return a note as it is; its sentence stands in the catalogue of messages, as those of errors do."""
    return text


def on_ids(names: Iterable[str], kind: str) -> tuple[str, ...]:
    """Return notes on ids: a word for a missing one, one id written in two ways, long numbers that a spreadsheet has rounded.

    >>> on_ids(["u1", "U1", "x"], "user")
    ('user ids u1 and U1 count as two; if they are one, write them alike',)
    """
    known = list(names)
    notes = []
    if words := [name for name in known if name.lower() in _WORDS]:
        notes.append(remark(f"{kind} ids as they stand: {', '.join(words)}; if one marks a missing id, remove its rows"))
    if rounded := next((name for name in known if _ROUNDED.fullmatch(name)), None):
        notes.append(
            remark(f"{kind} ids such as {rounded} were rounded by a spreadsheet: different ids may have become one; export them as text")
        )
    if pairs := _written_otherwise(known):
        (one, other), more = pairs[0], len(pairs) - 1
        others = f", and so do {more:,} more pairs" if more else ""
        notes.append(remark(f"{kind} ids {one} and {other} count as two{others}; if they are one, write them alike"))
    return tuple(notes)


def _written_otherwise(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return pairs of ids that differ in case, or as texts of one number, alone."""
    first: dict[str, str] = {}
    pairs = []
    for name in names:
        other = first.setdefault(value_of(name.casefold()), name)
        if other != name:
            pairs.append((other, name))
    return pairs


def on_values(values: NDArray[np.float64], times: NDArray[np.float64] | None, *, implicit: bool) -> tuple[str, ...]:
    """Return notes on the ratings ``(N,)`` of a table, and on their times."""
    notes = []
    if not implicit and len(values) > 1 and np.ptp(values) == 0:
        notes.append(remark(f"every rating is {values[0]:g}: nothing to predict; read such data as implicit feedback"))
    if times is not None and len(times) > 1 and np.ptp(times) == 0:
        notes.append(remark("every time stamp is the same: splits by time are not possible"))
    rounding = float(np.abs(values - values.astype(np.float32)).max())
    if rounding > _COARSE * float(values.std()) > 0:
        notes.append(
            remark(f"ratings are kept in 32 bits, which rounds these by up to {rounding:g}: subtract a constant near {values.mean():g}")
        )
    return (*notes, *(_apart(values) if not implicit else ()))


def _apart(values: NDArray[np.float64]) -> list[str]:
    """Return a note on a value at one end that stands apart and repeats: files write 99 or -1 where nobody has rated."""
    notes = []
    for end in {float(values.min()), float(values.max())}:
        rest = values[values != end]
        if not len(rest):
            continue
        low, high = float(rest.min()), float(rest.max())
        # of three values, such as -10, 5 and 10, none stands apart
        far = min(abs(end - low), abs(end - high)) > high - low > 0 and bool(((rest > low) & (rest < high)).any())
        count = len(values) - len(rest)
        if count > 1 and (far or (end == -1 and low >= 0 and high >= _LIKED)):
            told = f"{count:,} ratings are {end:g}, apart from the others, which go from {low:g} to {high:g}"
            notes.append(remark(f"{told}: if that stands for no rating, remove these rows"))
    return notes
