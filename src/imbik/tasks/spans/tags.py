"""Tags of words (``B-city``, ``I-city``, ``O``), and the entities that a sequence of them marks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

OUTSIDE = "O"
_BARE = "entity"
"""Type of an entity whose tags name none."""

_TAG = re.compile(r"(?:([BIESLUMW])-(.+)|([BIESLUMW]))$", re.DOTALL)
_LETTERS = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S", "W": "S"}
"""Letters of the schemes in use -> begin, inside, end, single: BIO, BIOES, BILOU, BMES, BMEWO."""


@dataclass(frozen=True)
class Tag:
    """One tag: what its word is of an entity, ``B``, ``I``, ``E``, ``S`` or ``O``, and the entity's type."""

    part: str
    type: str


def tag_of(text: str) -> Tag | None:
    """Return what a tag says; None for a text that is no tag of a known scheme.

    >>> tag_of("L-city"), tag_of("city")
    (Tag(part='E', type='city'), None)
    """
    if text == OUTSIDE:
        return Tag(OUTSIDE, "")
    found = _TAG.match(text)
    if found is None:
        return None
    letter, kind, bare = found.groups()
    return Tag(_LETTERS[letter or bare], kind or _BARE)


def begins(before: Tag, here: Tag) -> bool:
    """Return whether an entity begins at a tag, by the rules of conlleval (Tjong Kim Sang & Buchholz 2000), which seqeval has too.

    It need not be tagged so: after another type, ``O`` or an end, every tag but ``O`` begins one.
    """
    if here.part == OUTSIDE:
        return False
    return here.part in "BS" or before.part in "OES" or before.type != here.type


def entities_of(tags: Sequence[Tag]) -> list[tuple[int, int, str]]:
    """Return the entities of one text as first word, last word + 1 and type, in order.

    >>> entities_of([tag_of(text) for text in ("B-a", "I-a", "I-b", "O", "E-b", "I-b")])
    [(0, 2, 'a'), (2, 3, 'b'), (4, 5, 'b'), (5, 6, 'b')]
    """
    found: list[tuple[int, int, str]] = []
    before, first = Tag(OUTSIDE, ""), -1
    for place, here in enumerate([*tags, Tag(OUTSIDE, "")]):
        starts = begins(before, here)
        if before.part != OUTSIDE and (starts or here.part == OUTSIDE):
            found.append((first, place, before.type))
        if starts:
            first = place
        before = here
    return found


def repairs(tags: Sequence[Tag], *, closes: bool) -> int:
    """Count the entities that are not tagged as their scheme has it, and were read all the same.

    Args:
        tags: of one text.
        closes: whether the scheme marks ends and single words (BIOES and its kin).

    >>> repairs([Tag("I", "a"), Tag("I", "a")], closes=False)
    1
    """
    count = 0
    for first, last, _ in entities_of(tags):
        parts = "".join(tag.part for tag in tags[first:last])
        count += parts not in ("S", "B" + "I" * (last - first - 2) + "E") if closes else parts[0] != "B"
    return count


def types_of(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the entity types that a model's labels name, in the order in which they appear; labels that are no tags are types.

    >>> types_of(["O", "B-b", "I-b", "B-a", "I-a"]), types_of(["O", "PER"])
    (('b', 'a'), ('PER',))
    """
    return tuple(dict.fromkeys(tag.type for tag in labels_as_tags(labels) if tag.part != OUTSIDE))


def labels_as_tags(labels: Sequence[str]) -> list[Tag]:
    """Return what each label of a model says; one without a letter of a scheme is ``I`` of its own name."""
    return [tag_of(label) or Tag("I", label) for label in labels]


def bio(types: Sequence[str]) -> tuple[str, ...]:
    """Return the labels of a new model: ``O``, then ``B-`` and ``I-`` of each type.

    >>> bio(["city"])
    ('O', 'B-city', 'I-city')
    """
    return (OUTSIDE, *(f"{part}-{kind}" for kind in types for part in "BI"))


class Labelling:
    """A model's labels as tags: words to label indices, and label indices to entities.

    Args:
        labels: the model's, in order.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.tags = labels_as_tags(labels)
        self.types = types_of(labels)
        self._places = {(tag.part, tag.type): index for index, tag in reversed(list(enumerate(self.tags)))}
        self._type = {kind: number for number, kind in enumerate(self.types)}
        self.outside = labels.index(OUTSIDE) if OUTSIDE in labels else 0

    def labels(self, words: int, kind: int, *, goes_on: bool = False, goes_further: bool = False) -> list[int]:
        """Return the labels of the words of one entity.

        Args:
            words: how many.
            kind: number of its type.
            goes_on: whether it began before these words.
            goes_further: whether it ends behind them.

        >>> Labelling(["O", "B-a", "I-a"]).labels(2, 0), Labelling(["O", "B-a", "I-a"]).labels(1, 0, goes_on=True)
        ([1, 2], [2])
        """
        name = self.types[kind]
        first, last = "I" if goes_on else "B", "I" if goes_further else "E"
        single = {(False, False): "S", (True, False): "E", (False, True): "B", (True, True): "I"}[goes_on, goes_further]
        return [self._label(part, name) for part in ([single] if words == 1 else [first, *"I" * (words - 2), last])]

    def _label(self, part: str, kind: str) -> int:
        """Return the model's label for a part of an entity, or what its scheme has in the place of it."""
        order = {"S": "SBIE", "B": "BISE", "E": "EIBS", "I": "IEBS"}[part]
        return next(self._places[one, kind] for one in order if (one, kind) in self._places)

    def entities(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the entities that labels of words mark: first word, last word + 1, type: ``(K, 3)``."""
        found = [(first, last, self._type[kind]) for first, last, kind in entities_of([self.tags[index] for index in indices])]
        return np.array(found, dtype=np.int64).reshape(-1, 3)
