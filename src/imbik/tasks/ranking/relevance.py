"""Queries and documents as rows of one split: which document answers which query.

The target of a row is an array ``(K, 2)`` of whole numbers. A document has one pair, its own number and :data:`DOCUMENT`; a query a pair
for each document that answers it, ``(number, grade)`` with a grade above 0. Documents are named by numbers of their own and not by their
rows, so that some rows of a split are a smaller collection that is scored alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imbik.tasks.outputs import Array, is_ragged

DOCUMENT = -1
"""Stands in the place of a grade where a row is a document."""

ITSELF = -2
"""Stands in the place of a grade where a document is the query itself, which it does not answer."""


def document_target(number: int) -> NDArray[np.int64]:
    """Return the target of a document."""
    return np.array([[number, DOCUMENT]], np.int64)


def query_target(grades: Mapping[int, int], itself: int | None = None) -> NDArray[np.int64]:
    """Return the target of a query.

    Args:
        grades: number of a document -> how well it answers, above 0.
        itself: number of the document that is the query, if one is.

    >>> query_target({7: 1, 3: 2}).tolist()
    [[3, 2], [7, 1]]
    """
    pairs = sorted(grades.items()) + ([] if itself is None else [(itself, ITSELF)])
    return np.array(pairs, np.int64).reshape(-1, 2)


def ranks(targets: Array) -> bool:
    """Return whether targets are of queries and documents, and not numbers."""
    return is_ragged(np.asarray(targets))


@dataclass(frozen=True)
class Collection:
    """The rows of a split by what they are.

    Attributes:
        documents: rows that are documents, ascending.
        queries: rows that are queries with at least one answer among the documents, ascending.
        grades: of each of these queries, place among ``documents`` -> grade; a grade below 0: the document is the query itself.
    """

    documents: NDArray[np.int64]
    queries: NDArray[np.int64]
    grades: tuple[Mapping[int, int], ...]

    @classmethod
    def of(cls, targets: Array) -> Collection:
        """Return the collection that targets describe."""
        rows = [row for row, pairs in enumerate(targets) if len(pairs) and pairs[0, 1] == DOCUMENT]
        place = {int(targets[row][0, 0]): index for index, row in enumerate(rows)}
        queries, grades = [], []
        for row, pairs in enumerate(targets):
            here = {place[number]: grade for number, grade in pairs.tolist() if grade != DOCUMENT and number in place}
            if any(grade > 0 for grade in here.values()):
                queries.append(row)
                grades.append(here)
        return cls(np.array(rows, np.int64), np.array(queries, np.int64), tuple(grades))
