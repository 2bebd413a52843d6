"""Texts to the n-grams that occur in them, by number: the tokenizer of linear models, in Python alone.

A text becomes words and single punctuation marks, in lower case and without accents; its features are runs of words, and runs of
characters inside a word where the model has them. What counts is whether an n-gram occurs, not how often. Number 0 is none of them.
"""

from __future__ import annotations

import gzip
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from imbik.errors import UserError
from imbik.jobs.reading import damage_told

NGRAMS_FILE = "ngrams.json.gz"
"""Beside the model: which n-grams there are, and how they are cut."""

_WORD = re.compile(r"\w+|[^\w\s]")
_INSIDE = "\t"
"""Begins an n-gram of characters, so that it is never taken for one of words: no word has white space."""

_LONGEST = 64
"""Words or characters of a run, at most; a file that asks for longer ones is damaged."""

_NONE = repeat(0)

_REMEMBERED = 65536
"""Words whose n-grams of characters are remembered, at most."""


def plain(text: str) -> str:
    """Return a text in lower case, without accents, with one i: so ``IŞIK``, ``ışık`` and ``Isik`` are one word.

    >>> plain("Kartım Nerede, İLK GÜN?")
    'kartim nerede, ilk gun?'
    """
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFD", text.lower())
    return "".join(letter for letter in apart if not unicodedata.combining(letter)).replace("ı", "i")


@dataclass(frozen=True)
class Cut:
    """How texts are cut into n-grams.

    Attributes:
        words: the longest run of words.
        characters: the shortest and longest run of characters inside a word, its ends marked by a space; None: none.
    """

    words: int = 2
    characters: tuple[int, int] | None = None

    def of_words(self, words: Sequence[str], length: int) -> Iterable[str]:
        """Return the runs of ``length`` words."""
        if length == 1:
            return words
        # one list for each place in the run, from its first word on
        return map(" ".join, zip(*[words[start:] for start in range(length)], strict=False))

    def of_characters(self, word: str) -> Iterator[str]:
        """Yield the runs of characters of a word."""
        if self.characters is None:
            return
        padded = f" {word} "
        shortest, longest = self.characters
        for length in range(shortest, longest + 1):
            for start in range(max(len(padded) - length + 1, 1)):
                yield _INSIDE + padded[start : start + length]

    def ngrams(self, text: str) -> set[str]:
        """Return what occurs in a text.

        >>> sorted(Cut(words=2).ngrams("Where is my card?"))
        ['?', 'card', 'card ?', 'is', 'is my', 'my', 'my card', 'where', 'where is']
        """
        words = _WORD.findall(plain(text))
        found = set(chain.from_iterable(self.of_words(words, length) for length in range(1, self.words + 1)))
        if self.characters is not None:
            for word in set(words):
                found.update(self.of_characters(word))
        return found


@dataclass(frozen=True)
class Encoded:
    """A text as numbers of n-grams, in the place of a ``tokenizers`` encoding."""

    ids: list[int]


class NgramTokenizer:
    """The n-grams that a model knows.

    Args:
        cut: how texts are cut.
        ngrams: n-gram number 1, 2, …
    """

    def __init__(self, cut: Cut, ngrams: Sequence[str]) -> None:
        self.cut = cut
        self.ngrams = tuple(ngrams)
        self._numbers = {ngram: number for number, ngram in enumerate(ngrams, 1)}
        self._inside: dict[str, frozenset[int]] = {}
        self._lengths = range(1, cut.words + 1)

    def ids(self, texts: Sequence[str], first: int = 0) -> list[list[int]]:
        """Return the numbers of the known n-grams of every text, in no order; ``[0]`` where it has none.

        Args:
            texts: N texts.
            first: row number of the first text, for messages.

        Raises:
            UserError: a text is not a string.
        """
        return [self._row(text, first + row) for row, text in enumerate(texts)]

    def _row(self, text: str, row: int) -> list[int]:
        if not isinstance(text, str):
            raise UserError("not a text", where=f"row {row + 1}", found=type(text).__name__, expected="a string")
        words = _WORD.findall(plain(text))
        number = self._numbers.get
        found: set[int] = set()
        for length in self._lengths:
            # no step of Python for each n-gram: a quarter of the time of a text
            found.update(map(number, self.cut.of_words(words, length), _NONE))
        if self.cut.characters is not None:
            for word in words:
                found |= self._inside_of(word)
        found.discard(0)
        return list(found) or [0]

    def _inside_of(self, word: str) -> frozenset[int]:
        """Return the numbers of a word's runs of characters: words repeat, so they are remembered."""
        known = self._inside.get(word)
        if known is None:
            known = frozenset(self._numbers.get(ngram, 0) for ngram in self.cut.of_characters(word))
            if len(self._inside) < _REMEMBERED:
                self._inside[word] = known
        return known

    def remembered(self) -> dict[str, frozenset[int]]:
        """Return a copy of the memory for words."""
        return dict(self._inside)

    def remember(self, words: Mapping[str, frozenset[int]]) -> None:
        """Put a copy of :meth:`remembered` in the place of the memory; an empty one is that of a process that has seen no text yet."""
        self._inside = dict(words)

    def encodings(self, rows: Sequence[Any], numbers: Sequence[int] | range, *, offsets: bool = False) -> list[Any]:
        """Return :class:`Encoded` texts.

        Args:
            rows: texts.
            numbers: of the rows, for messages.
            offsets: not known here: a set of n-grams has no places.
        """
        return [Encoded(self._row(text, number)) for text, number in zip(rows, numbers, strict=True)]

    def write(self, path: Path) -> None:
        """Write the cut and the n-grams as JSON, packed: n-grams share words, and take a third of the bytes so."""
        written = {"words": self.cut.words, "characters": self.cut.characters, "ngrams": self.ngrams}
        text = json.dumps(written, ensure_ascii=False, separators=(",", ":"))
        # no time inside: equal models are equal files
        path.write_bytes(gzip.compress(text.encode(), mtime=0))

    @classmethod
    def read(cls, path: Path) -> NgramTokenizer:
        """Read what :meth:`write` wrote.

        Raises:
            UserError: the file is damaged.
        """
        with damage_told("the n-grams of the artefact cannot be read", path, fix="copy the folder again, or make the model again"):
            match json.loads(gzip.decompress(path.read_bytes())):
                case {"words": int(words), "characters": [int(shortest), int(longest)], "ngrams": list(ngrams)}:
                    cut = Cut(words, (shortest, longest))
                case {"words": int(words), "characters": None, "ngrams": list(ngrams)}:
                    cut = Cut(words)
                case _:
                    raise ValueError("not a list of n-grams")
            if not all(isinstance(ngram, str) for ngram in ngrams):
                raise ValueError("an n-gram is no text")
            shortest, longest = cut.characters or (1, 1)
            if not (1 <= cut.words <= _LONGEST and 1 <= shortest <= longest <= _LONGEST):
                raise ValueError("runs of a length that no model has")
        return cls(cut, ngrams)
