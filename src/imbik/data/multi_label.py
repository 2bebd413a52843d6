"""Several labels a row: what one column of lists, several columns, or several switches of 0 and 1 mean."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imbik.data.formats.table import shorten
from imbik.data.label_column import LabelColumn, json_list
from imbik.errors import UserError

_ON, _OFF = frozenset({"1", "1.0", "true", "yes"}), frozenset({"0", "0.0", "false", "no"})
Sets = list[list[tuple[str, ...]]]


def label_sets(splits: Sequence[Sequence[LabelColumn]]) -> list[Sets]:
    """Per split, per label column, per distinct value: the labels that it switches on.

    One column: a JSON list, or names between ``|`` or ``;``; an empty cell switches nothing on. Several columns: each value
    is a label of its own name, ``column=value`` where two columns share the value; columns that hold nothing but 0 and 1
    are switches named by the column.

    Raises:
        UserError: a broken list, or an empty cell in one of several columns.
    """
    if len(splits[0]) == 1:
        return [[[_listed(columns[0], code) for code in range(len(columns[0].values))]] for columns in splits]
    for columns in splits:
        for column in columns:
            column.check_present()
    seen = [{value for columns in splits for value in columns[i].values} for i in range(len(splits[0]))]
    if all({value.lower() for value in values} <= _ON | _OFF for values in seen):
        return [[[_switched(column.name, value) for value in column.values] for column in columns] for columns in splits]
    shared = {value for value, count in Counter(v for values in seen for v in values).items() if count > 1}
    return [[[(f"{column.name}={v}" if v in shared else v,) for v in column.values] for column in columns] for columns in splits]


def _switched(name: str, value: str) -> tuple[str, ...]:
    return (name,) if value.lower() in _ON else ()


def _listed(column: LabelColumn, code: int) -> tuple[str, ...]:
    value = column.values[code]
    if value.startswith("["):
        found = json_list(value)
        if found is None:
            raise UserError("broken list of labels", where=column.where(code), found=shorten(value), expected='["one", "two"]')
        return tuple(found)
    return tuple(part for part in (piece.strip() for piece in re.split(r"[|;]", value)) if part)


def label_matrix(columns: Sequence[LabelColumn], sets: Sets, labels: Sequence[str]) -> NDArray[np.float32]:
    """0/1 targets, (N, L) float32, in the order of ``labels``."""
    place = {name: i for i, name in enumerate(labels)}
    matrix = np.zeros((len(columns[0].codes), len(labels)), np.float32)
    for column, values in zip(columns, sets, strict=True):
        table = np.zeros((len(values), len(labels)), np.float32)
        for code, names in enumerate(values):
            table[code, [place[name] for name in names]] = 1.0
        np.maximum(matrix, table[column.codes], out=matrix)
    return matrix
