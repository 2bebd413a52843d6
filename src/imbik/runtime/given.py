"""What a program gives a predictor, columns of texts and settings, and what it is told of a model that does not answer."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from imbik.data.tokens import not_a_string
from imbik.errors import UserError, shorten
from imbik.runtime.manifest import LONGEST, MANIFEST_FILE

_MOST = {"threads": 1024, "batch_tokens": 2**31, "length_multiple": LONGEST}
"""Largest values of a predictor's settings."""


def checked(texts: Sequence[str], pairs: Sequence[str] | None) -> tuple[Sequence[str], Sequence[str] | None]:
    """Return texts and pairs as sequences of one length.

    Raises:
        UserError: they are no sequences of texts, or differ in number.
    """
    first = sequence_of(texts, "texts")
    second = None if pairs is None else sequence_of(pairs, "pairs")
    if second is not None and len(second) != len(first):
        raise UserError(
            "texts and pairs differ in number",
            found=f"{len(first)} texts, {len(second)} pairs",
            expected="one pair for each text",
        )
    return first, second


def sequence_of(values: object, name: str) -> Sequence[Any]:
    """Return a column of texts or images as something that is counted from 0: lists and the like as they are, others as lists.

    Raises:
        UserError: it is a single text, a table, or has no order.
    """
    if type(values) is list:  # the common case, without the question what a sequence is
        return values
    if isinstance(values, str):
        one = name.removesuffix("s")
        raise UserError(f"predict takes a list of {name}", where=name, found="one string", fix=f"put it in a list: predict([{one}])")
    if isinstance(values, (Iterator, deque)):  # neither can be cut into parts
        return list(values)
    if isinstance(values, Sequence) and not isinstance(values, (bytes, bytearray, memoryview)):
        return values
    for method in ("to_pylist", "tolist"):  # pyarrow; NumPy and pandas
        if hasattr(values, method) and getattr(values, "ndim", 1) == 1:
            return list(getattr(values, method)())
    table = getattr(values, "ndim", 1) != 1
    fix = f"name its column: predict(table['{name.removesuffix('s')}'])" if table else f"make it a list: predict(list({name}))"
    raise UserError(f"predict takes a list of {name}, in an order", where=name, found=type(values).__name__, fix=fix)


def paired(texts: Sequence[str], pairs: Sequence[str], first: int) -> list[tuple[str, str]]:
    """Return texts with their second texts, row by row.

    Args:
        texts, pairs: of one length.
        first: row number of the first, for messages.

    Raises:
        UserError: a second text is not a string: None would make a single text of the row.
    """
    for number, other in enumerate(pairs, first):
        if not isinstance(other, str):
            raise not_a_string(other, number)
    return list(zip(texts, pairs, strict=True))


def both(row: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return a row's texts: one or two."""
    return (row,) if isinstance(row, str) else row


def check_settings(**settings: int | None) -> None:
    """Refuse settings of a predictor that are no whole number above zero; None stands for the default.

    Raises:
        UserError: naming the setting.

    >>> check_settings(threads=2, batch_tokens=None)
    """
    for name, value in settings.items():
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if value is not None and not (whole and 1 <= value <= _MOST[name]):
            raise UserError("must be a whole number above zero", where=name, found=repr(value), expected=f"1 to {_MOST[name]}")


def cannot_answer(engine: str, error: Exception) -> Exception:
    """Return what a user is told of a model that fails: each engine has errors of its own for parts that do not belong together."""
    if isinstance(error, UserError):
        return error
    found = shorten(f"{type(error).__name__}: {error}", 200)
    fix = "copy the folder again, or export the model again"
    return UserError(f"the {engine} model of the artefact cannot answer", found=found, fix=fix)


def not_of_labels(shape: tuple[int, ...], labels: int) -> UserError:
    """Return the error of a model whose outputs have not one column for each label."""
    return UserError(
        "the model does not fit the labels of the artefact",
        where=MANIFEST_FILE,
        found=f"answers of the shape {shape}",
        expected=f"one number for each of {labels} labels",
        fix="copy the folder again, or export the model again",
    )
