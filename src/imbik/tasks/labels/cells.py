"""One column whose cells hold any number of labels each: which notation it has, and which labels each cell names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from imbik.errors import UserError, shorten
from imbik.tasks.label_cells import LabelCells
from imbik.tasks.labels.lists import are_vectors, has_decimals, items_of, parts_of, separation, switched_on
from imbik.tasks.labels.names import composed, value_of
from imbik.types import Note, TakeNote

_UNSURE = 3  # different cells with a comma, below which nothing can be said against it


def are_lists(values: Sequence[str]) -> bool:
    """Return whether cells hold lists, whichever program wrote them; names in brackets are none.

    >>> are_lists(["['a']", "['a', 'b']"]), are_lists(["[news]", "[sport]"]), are_lists(["a"])
    (True, False, False)
    """
    lists = [items_of(value) for value in values]
    return bool(lists) and None not in lists and any(items != [value[1:-1]] for items, value in zip(lists, values, strict=True))


def label_cells(columns: Sequence[LabelCells], labels: Sequence[str] | None, say: TakeNote) -> list[list[tuple[str, ...]]]:
    """Return, per split, the labels that each distinct cell names.

    Args:
        columns: the label column of each split, train first.
        labels: the names that a teacher knows, if any.
        say: takes a note on how the cells were read.

    Raises:
        UserError: a broken list, lists of probabilities, a notation that may be read in two ways.
    """
    separator = _separator(columns, labels, say)
    read = [[_items(column, code, separator) for code in range(len(column.values))] for column in columns]
    if all(items_of(value) is not None for column in columns for value in column.values):
        read = _vectors(columns, read, labels, say)
    # judged together, so that a label has one name in every split
    if all(value_of(item).lstrip("-").isdigit() for cells in read for items in cells for item in items):
        read = [[[value_of(item) if "." in item else item for item in items] for items in cells] for cells in read]
    return [[tuple(items) for items in cells] for cells in read]


def _items(column: LabelCells, code: int, separator: str | None) -> list[str]:
    value = column.values[code]
    items = items_of(value)
    if items is None and value.startswith("["):
        raise UserError("broken list of labels", where=column.where(code), found=shorten(value), expected='["one", "two"]')
    if items is not None:
        if has_decimals(items):
            raise UserError(
                "numbers with decimals, which name no labels",
                where=column.where(code),
                found=shorten(value),
                expected="the labels that the text has",
                fix="give labels, not probabilities, or name another column with --label",
            )
        return items
    if separator is None:
        return [value] if value else []
    return parts_of(re.sub(separator, "\x00", value), "\x00")


def _vectors(
    columns: Sequence[LabelCells], read: list[list[list[str]]], labels: Sequence[str] | None, say: TakeNote
) -> list[list[list[str]]]:
    """Return lists in which vectors of 0 and 1 are replaced by the names of the places that are 1."""
    flat = [items for cells in read for items in cells]
    vectors = are_vectors(flat)
    if vectors is None and labels is not None:
        vectors = not {"0", "1"} <= set(labels)
    if vectors is None:
        raise UserError(
            "vectors of 0 and 1, or the two labels 0 and 1?",
            where=columns[0].where(0),
            found=shorten(columns[0].values[0]),
            fix='write the names of the labels instead: ["one", "two"]',
        )
    if not vectors:
        return read
    names = list(labels) if labels is not None and len(labels) == len(flat[0]) else [str(place) for place in range(len(flat[0]))]
    say(Note.of("vectors", column=columns[0].name, count=len(names), first=names[0], last=names[-1]))
    return [[[names[int(place)] for place in switched_on(items)] for items in cells] for cells in read]


def _separator(columns: Sequence[LabelCells], labels: Sequence[str] | None, say: TakeNote) -> str | None:
    """Return a pattern of what stands between labels in cells that are no lists; None: nothing does."""
    values = list(dict.fromkeys(value for column in columns for value in column.values if value and items_of(value) is None))
    if labels is not None and {composed(label) for label in labels} >= set(values):
        return None
    if not values or any("|" in value or ";" in value for value in values):
        return "[|;]"
    found = separation(values, asked=True)
    if found is None or not (found.sure or found.separator == ","):
        return None
    if not found.recurring and found.cells > _UNSURE:
        raise UserError(
            "do the commas part labels, or do they belong to the names?",
            where=columns[0].where(0),
            found=shorten(next(value for value in values if "," in value)),
            fix="write the labels of a row as one|two, or give --task classification where each row has one label",
        )
    say(Note.of("separated", column=columns[0].name, separator=repr(found.separator), count=found.cells))
    return re.escape(found.separator)
