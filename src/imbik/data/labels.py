"""From label columns to targets: whose names count, in which order, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imbik.data.label_column import class_names, natural_order, regression_targets
from imbik.data.multi_label import Sets, label_matrix, label_sets
from imbik.data.rows import Rows
from imbik.errors import UserError
from imbik.types import Note, TaskName

MOST_UNLEARNABLE = 0.02
"""Share of the rows of dev or test that may carry a label which train lacks."""

_GENERIC = re.compile(r"LABEL_\d+$")  # what transformers calls a class without a name


def targets_of(
    splits: Mapping[str, Rows], task: TaskName, labels: Sequence[str] | None, say: Callable[[Note], object], *, exact: bool = True
) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """Targets of every (labelled) split, and the label names in the order of their indices.

    Args:
        labels: the names to use, in order (a teacher's); None: those of the first split, in natural order.
        exact: whether the data must have every one of ``labels``.

    Raises:
        UserError: label sets that differ, one class only, an empty or unreadable label.
    """
    first = next(iter(splits.values()))
    if task == "regression":
        _one_column(first, task)
        if labels is not None and len(labels) != 1:
            raise UserError(
                "the labels are numbers, the model has classes",
                where=first.where,
                found=f"column {first.labels[0].name!r}",
                expected=f"labels {_listed(labels)}",
                fix="name the label column with --label, or give --task classification",
            )
        names = tuple(labels) if labels else (first.labels[0].name,)
        return {name: regression_targets(rows.labels[0]) for name, rows in splits.items()}, names
    if task == "classification":
        _one_column(first, task)
        sets: list[Sets] = [[[(n,) for n in class_names(rows.labels[0])]] for rows in splits.values()]
    else:
        sets = label_sets([rows.labels for rows in splits.values()])
    names, renamed = _names(list(splits.values()), sets, labels, say, exact)
    targets: dict[str, NDArray[Any]] = {}
    for (name, rows), values in zip(splits.items(), sets, strict=True):
        known = [[tuple(renamed.get(n, n) for n in value) for value in column] for column in values]
        _check_known(rows, known, names, labels is not None)
        if task == "multi-label":
            targets[name] = label_matrix(rows.labels, known, names)
        else:
            place = {n: i for i, n in enumerate(names)}
            targets[name] = np.array([place[value[0]] for value in known[0]], np.int64)[rows.labels[0].codes]
    return targets, names


def _one_column(rows: Rows, task: TaskName) -> None:
    if len(rows.labels) > 1:
        raise UserError(
            f"{task} has one label column",
            where=rows.where,
            found=", ".join(column.name for column in rows.labels),
            fix="name one column with --label, or use --task multi-label",
        )


def _names(
    splits: Sequence[Rows], sets: Sequence[Sets], labels: Sequence[str] | None, say: Callable[[Note], object], exact: bool
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The label names, and how the data's own names must be rewritten to match given ones."""
    per_split = [{n for column in values for value in column for n in value} for values in sets]
    if labels is None:
        names = natural_order(per_split[0])
        names = natural_order([*names, *_unlearnable(splits, sets, set(names), say)])
        if len(per_split[0]) < 2:
            raise UserError(
                "only one class" if per_split[0] else "no labels at all",
                where=f"{splits[0].where}, column {splits[0].labels[0].name!r}",
                found=_listed(natural_order(per_split[0])),
                expected="at least two different labels",
                fix="name the label column with --label",
            )
        return names, {}
    found = set().union(*per_split)
    renamed = _rewrite(found, labels, say)
    found = {renamed.get(n, n) for n in found}
    extra, lacking = natural_order(found - set(labels)), [n for n in labels if n not in found]
    if extra or (exact and lacking):
        difference = [f"only in the data: {_listed(extra)}"] if extra else []
        difference += [f"only in the model: {_listed(lacking)}"] if lacking else []
        raise UserError(
            f"the data's labels are not the model's ({'; '.join(difference)})",
            where=f"{splits[0].where}, column {splits[0].labels[0].name!r}",
            found=_listed(natural_order(found)),
            expected=_listed(labels),
            fix="name the right label column with --label, or use a model that was trained on these labels",
        )
    return tuple(labels), renamed


def _unlearnable(splits: Sequence[Rows], sets: Sequence[Sets], known: set[str], say: Callable[[Note], object]) -> list[str]:
    """Labels that only dev or test have. A few such rows are usual where classes are rare, and count as errors of every model; many
    mean that the files do not belong together, and :func:`_check_known` refuses them."""
    new: list[str] = []
    for rows, values in zip(splits[1:], sets[1:], strict=True):
        for column, distinct in zip(rows.labels, values, strict=True):
            foreign = [not set(value) <= known for value in distinct]
            count = int(np.asarray(foreign, bool)[column.codes].sum())
            if 0 < count <= MOST_UNLEARNABLE * len(column.codes):
                names = natural_order({n for value in distinct for n in value} - known)
                place = column.where(foreign.index(True))
                say(Note.of("rare", file=place, count=count, labels=_listed(names, 5)))
                new += names
    return new


def _rewrite(found: set[str], labels: Sequence[str], say: Callable[[Note], object]) -> dict[str, str]:
    """Names that differ in upper and lower case only, and class numbers for a model without class names."""
    if found <= set(labels):
        return {}
    if all(_GENERIC.match(name) for name in labels) and found <= {str(i) for i in range(len(labels))}:
        say(Note.of("class_numbers", label=labels[0]))
        return {str(i): name for i, name in enumerate(labels)}
    folded = {name.casefold(): name for name in labels}
    renamed = {name: folded[name.casefold()] for name in found - set(labels) if name.casefold() in folded}
    if len(folded) < len(labels) or len(renamed) + len(found & set(labels)) > len(set(renamed.values()) | (found & set(labels))):
        return {}
    if renamed:
        say(Note.of("label_case", pairs=tuple(f"{own} = {given}" for own, given in sorted(renamed.items()))))
    return renamed


def _check_known(rows: Rows, sets: Sets, names: Sequence[str], given: bool) -> None:
    known = set(names)
    for column, values in zip(rows.labels, sets, strict=True):
        for code, value in enumerate(values):
            new = [name for name in value if name not in known]
            if new:
                raise UserError(
                    "a label that train does not have" if not given else "a label that the model does not have",
                    where=column.where(code),
                    found=repr(new[0]),
                    expected=_listed(names),
                    fix="add rows with this label to train, or remove these rows",
                )


def _listed(names: Sequence[str], most: int = 100) -> str:
    """``'a', 'b', ... (120 in all)``."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f", ... ({len(names)} in all)" if len(names) > most else "") if names else "none"
