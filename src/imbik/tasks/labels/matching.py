"""Which label names count, in which order, and what is refused: for tasks whose targets are classes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from imbik.errors import UserError
from imbik.tasks.label_cells import LabelledRows, natural_order
from imbik.tasks.labels.names import alike, composed, matched, value_of
from imbik.types import Note, TakeNote

LabelSets = list[list[tuple[str, ...]]]
"""Of one split: per label column, per distinct cell, the labels that it stands for."""

MOST_UNLEARNABLE = 0.02
"""Share of the rows of dev or test that may carry a label which train lacks."""

_SAME: tuple[tuple[Callable[[tuple[str, ...]], Note], Callable[[str], str]], ...] = (
    (lambda pairs: Note.of("label_form", pairs=pairs), composed),
    (lambda pairs: Note.of("label_number", pairs=pairs), value_of),
    (lambda pairs: Note.of("label_case", pairs=pairs), str.casefold),
)
"""Notes on names that are matched, and what makes them equal."""

_NOTHING = re.compile(r"nan|#n/a|#yok|#[^\W\d]+(/0)?[!?]")  # of programs, and what a sheet shows for an error (#REF!, #AD?)
_USUAL = 10  # rows a label, on average, beside which a label of one row may be a slip of the pen
_GENERIC = re.compile(r"LABEL_\d+$")  # what transformers calls a class without a name


def match_labels(
    splits: Mapping[str, LabelledRows], sets: Sequence[LabelSets], labels: Sequence[str] | None, say: TakeNote, *, exact: bool
) -> tuple[tuple[str, ...], list[LabelSets]]:
    """Return the label names in order, and the sets of every split rewritten in these names.

    Args:
        splits: the labelled splits; the one whose names count first.
        sets: of each split.
        labels: the names to use, in order (a teacher's); None: those of the first split, in natural order.
        say: takes a note for the user.
        exact: whether the data must have every one of ``labels``.

    Raises:
        UserError: label sets that differ, or one class only.
    """
    rows = list(splits.values())
    if labels is not None:
        _check_distinct(labels)
    else:
        sets = _as_in_train(sets, say)
    names, renamed = _names(rows, sets, labels, say, exact)
    known = [[[tuple(renamed.get(n, n) for n in cell) for cell in column] for column in columns] for columns in sets]
    if labels is None:
        _note_names(rows[0], known[0], names, say)
    for split, columns in zip(rows, known, strict=True):
        _check_known(split, columns, names, given=labels is not None)
    return names, known


def _names(
    splits: Sequence[LabelledRows], sets: Sequence[LabelSets], labels: Sequence[str] | None, say: TakeNote, exact: bool
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the label names, and how the data's own names must be rewritten to match given ones."""
    per_split = [{name for column in columns for cell in column for name in cell} for columns in sets]
    where = f"{splits[0].where}, column {splits[0].labels[0].name!r}"
    if labels is None:
        names = natural_order(per_split[0])
        # they get an index of their own, so that their rows count as errors and do not stop the run
        names = natural_order([*names, *_unlearnable(splits, sets, set(names), say)])
        if len(per_split[0]) < 2:
            raise UserError(
                "only one class" if per_split[0] else "no labels at all",
                where=where,
                found=listed(natural_order(per_split[0])),
                expected="at least two different labels",
                fix="name the label column with --label",
            )
        return names, {}
    here = set().union(*per_split)
    renamed = _rewrite(here, labels, say)
    here = {renamed.get(n, n) for n in here}
    extra = natural_order(here - set(labels))
    lacking = [n for n in labels if n not in here]
    if extra or (exact and lacking):
        difference = [f"only in the data: {listed(extra)}"] if extra else []
        difference += [f"only in the model: {listed(lacking)}"] if lacking else []
        raise UserError(
            f"the data's labels are not the model's ({'; '.join(difference)})",
            where=where,
            found=listed(natural_order(here)),
            expected=listed(labels),
            fix=_other_names(labels, len(here)),
        )
    return tuple(labels), renamed


def _other_names(labels: Sequence[str], count: int) -> str:
    """Return what to do about a model whose labels are not the data's ``count`` ones."""
    if count == len(labels) and all(_GENERIC.match(label) for label in labels):
        return (
            "the model's classes have no names: where it was trained on these labels, write them into its config.json, id2label and "
            "label2id, in the order of its training; else name the right label column with --label"
        )
    return "name the right label column with --label, or use a model that was trained on these labels"


def _unlearnable(splits: Sequence[LabelledRows], sets: Sequence[LabelSets], known: set[str], say: TakeNote) -> list[str]:
    """Return labels that only dev or test have.

    A few such rows are usual where classes are rare, and count as errors of every model; many mean that the files do not belong
    together, and :func:`_check_known` refuses them.
    """
    new: list[str] = []
    for rows, columns in zip(splits[1:], sets[1:], strict=True):
        for column, cells in zip(rows.labels, columns, strict=True):
            foreign = [not set(cell) <= known for cell in cells]
            count = int(np.asarray(foreign, bool)[column.codes].sum())
            if 0 < count <= MOST_UNLEARNABLE * len(column.codes):
                names = natural_order({name for cell in cells for name in cell} - known)
                place = column.where(foreign.index(True))
                say(Note.of("rare", file=place, count=count, labels=listed(names, 5)))
                new += names
    return new


def _rewrite(names: set[str], labels: Sequence[str], say: TakeNote) -> dict[str, str]:
    """Match names that are written otherwise: in another Unicode form, as another form of a number, in upper or lower case; and class
    numbers for a model without class names."""
    if names <= set(labels):
        return {}
    if all(_GENERIC.match(label) for label in labels) and names <= {str(i) for i in range(len(labels))}:
        say(Note.of("class_numbers", label=labels[0]))
        return {str(i): label for i, label in enumerate(labels)}
    renamed: dict[str, str] = {}
    for note, key in _SAME:
        found = dict(matched(names - renamed.keys(), labels, key))
        # two names that differ in case alone, in the model or in the data: nothing says which is meant
        taken = (names & set(labels)) | set(renamed.values())
        if key is str.casefold and (len(set(found.values())) < len(found) or taken & set(found.values())):
            continue
        if found:
            say(note(tuple(f"{own} = {given}" for own, given in sorted(found.items()))))
        renamed |= found
    return renamed


def _as_in_train(sets: Sequence[LabelSets], say: TakeNote) -> list[LabelSets]:
    """Return the sets with the names of dev and test written as train writes them: the same label is one class in every split."""
    train = {name for column in sets[0] for cell in column for name in cell}
    others = {name for columns in sets[1:] for column in columns for cell in column for name in cell}
    renamed = _rewrite(others, natural_order(train), say)
    return [[[tuple(renamed.get(n, n) for n in cell) for cell in column] for column in columns] for columns in sets]


def _check_distinct(labels: Sequence[str]) -> None:
    repeated = [label for place, label in enumerate(labels) if composed(label) in {composed(other) for other in labels[:place]}]
    if repeated:
        raise UserError(
            "the model has two labels of one name, so the data's cannot be told apart",
            where="id2label",
            found=listed(repeated),
            expected="a name of its own for every label",
            fix="give them different names in the model's config.json",
        )


def _note_names(rows: LabelledRows, cells: LabelSets, names: Sequence[str], say: TakeNote) -> None:
    """Note names that look alike, and a class that is called what programs write for nothing."""
    groups = alike(names)
    if groups:
        say(Note.of("labels_alike", pairs=tuple(" / ".join(map(repr, group)) for group in groups[:5])))
    counts = _rows_each(rows, cells)
    for name, count in counts.items():
        if _NOTHING.fullmatch(name.lower()):
            say(Note.of("nan_label", label=name, count=count))
    once = [name for name, count in counts.items() if count == 1]
    # where labels are rare anyway a single row says nothing
    if once and sum(counts.values()) >= _USUAL * len(names):
        say(Note.of("label_once", labels=listed(once, 5), count=len(once)))


def _rows_each(rows: LabelledRows, cells: Sequence[Sequence[tuple[str, ...]]]) -> Counter[str]:
    """Return how many rows have each label."""
    counts: Counter[str] = Counter()
    for column, sets in zip(rows.labels, cells, strict=True):
        for cell, count in zip(sets, np.bincount(column.codes, minlength=len(sets)).tolist(), strict=True):
            counts.update(dict.fromkeys(cell, count))
    return counts


def _check_known(rows: LabelledRows, sets: LabelSets, names: Sequence[str], *, given: bool) -> None:
    known = set(names)
    for column, cells in zip(rows.labels, sets, strict=True):
        for code, cell in enumerate(cells):
            new = [name for name in cell if name not in known]
            if new:
                raise UserError(
                    "a label that the model does not have" if given else "a label that train does not have",
                    where=column.where(code),
                    found=repr(new[0]),
                    expected=listed(names),
                    fix="add rows with this label to train, or remove these rows",
                )


def listed(names: Sequence[str], most: int = 100) -> str:
    """Return names for a message: ``'a', 'b', ... (120 in all)``.

    >>> listed(["a", "b", "c"], 2)
    "'a', 'b', ... (3 in all)"
    """
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f", ... ({len(names)} in all)" if len(names) > most else "") if names else "none"
