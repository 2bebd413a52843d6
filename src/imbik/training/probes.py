"""The few texts on which a model is looked at: a sample of rows, and what they should be answered."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imbik.tasks.registry import task_of
from imbik.training.context import Context
from imbik.training.encoding import Encoded
from imbik.training.prediction import RowTargets
from imbik.types import Examples


def sample(rows: Examples, count: int, seed: int) -> Examples:
    """Return at most ``count`` random rows, in the order in which they stand.

    >>> sample(Examples(["a", "b", "c"], None, None, ""), 2, 0).texts
    ['a', 'c']
    """
    if len(rows.texts) <= count:
        return rows
    # sorted: the draw says which rows, their order stays that of the file
    return some(rows, np.sort(np.random.default_rng(seed).permutation(len(rows.texts))[:count]))


def rest(rows: Examples, but: Examples, count: int, seed: int) -> Examples:
    """Return at most ``count`` random rows that are not in the sample ``but``; of data that is all in it, some of its rows."""
    # by text and not by number: a duplicate has been seen too
    seen = set(but.texts)
    others = np.array([row for row, text in enumerate(rows.texts) if text not in seen], dtype=np.int64)
    return sample(some(rows, others) if len(others) else but, count, seed)


def some(rows: Examples, chosen: NDArray[np.int64]) -> Examples:
    """Return the rows of these numbers."""
    pairs = None if rows.pairs is None else [rows.pairs[i] for i in chosen]
    targets = None if rows.targets is None else rows.targets[chosen]
    return Examples([rows.texts[i] for i in chosen], pairs, targets, "")


def targets_of(rows: Examples, data: Encoded, context: Context) -> NDArray[Any]:
    """Return the encoded rows' labels, or what the teacher says of them where they have none."""
    targets = RowTargets.of(context.splits, rows, data)
    if targets is not None:
        return targets.values
    logits = context.cache.logits(rows, context.progress).take(np.arange(len(rows.texts)))
    task = task_of(context.splits.task)
    return task.drawn(task.decode(logits), context.seed)
