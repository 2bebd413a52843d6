"""Rows of two texts for models that read each text on its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain

from imbik.data.text_store import TextStore
from imbik.tasks.registry import task_of
from imbik.types import Examples, Splits, TaskName


def in_turn(texts: Sequence[str], pairs: Sequence[str]) -> Iterable[str]:
    """Return the texts of each row, one row behind the other.

    >>> list(in_turn(["a", "c"], ["b", "d"]))
    ['a', 'b', 'c', 'd']
    """
    return chain.from_iterable(zip(texts, pairs, strict=True))


def each_text(examples: Examples) -> Examples:
    """Return every text of some rows as a row of its own, in order and without targets: 2 N rows of N pairs, N of N single texts."""
    if examples.pairs is None:
        return replace(examples, targets=None)
    return Examples(TextStore.of(in_turn(examples.texts, examples.pairs)), None, None, f"{examples.fingerprint} apart")


def as_read(examples: Examples, task: TaskName) -> Examples:
    """Return rows as the models of a task read them: unchanged, or each text as a row of its own."""
    return each_text(examples) if task_of(task).apart else examples


def learned_apart(splits: Splits) -> Splits:
    """Return the data as a student learns from it: unchanged, or where the task's models read texts apart, each different text once.

    Dev and test stay as they are: what is measured is the pairs. Targets of train go, as no single text has one; its pairs, where it has
    any with targets, stay beside it as ``scored``.
    """
    if not task_of(splits.task).apart:
        return splits
    extra = splits.unlabelled
    train = splits.train
    scored = train if train.pairs is not None and train.targets is not None else None
    return replace(splits, train=_different(train), unlabelled=None if extra is None else _different(extra), scored=scored)


def _different(examples: Examples) -> Examples:
    whole = each_text(examples)
    # the same sentence in a batch twice would be its own neighbor
    return replace(whole, texts=TextStore.of(dict.fromkeys(whole.texts)), fingerprint=f"{examples.fingerprint} apart")
