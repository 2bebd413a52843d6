"""Words to pieces in Python, as a tokenizer of BERT's kind does it: to ask the tokenizer for one word takes longer than the word.

Such a tokenizer changes every character alone (lower case, no accents), cuts at white space and around punctuation, and takes the longest
piece of its table from each place on (Wu et al. 2016, arXiv 1609.08144). What it makes of a character is asked of itself, once a character.
"""

from __future__ import annotations

import unicodedata
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import WordPiece

CHARACTERWISE = {"BertNormalizer", "Lowercase", "NFD", "StripAccents"}
"""Normalizers that make of a text without combining marks what they make of its characters; NFC joins letters, as those of Korean."""

_REMEMBERED = 8192
"""Characters that are remembered, at most."""


class AskTokenizer(Exception):
    """A word that only the tokenizer itself can cut."""


class _Letters(dict[int, str]):
    """What a tokenizer makes of characters, by their numbers, as ``str.translate`` asks for it: spaces stand where words end."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._normalizer: Any = tokenizer.normalizer
        self._cutter: Any = tokenizer.pre_tokenizer

    def __missing__(self, number: int) -> str:
        letters = self._become(chr(number))
        # texts of all of Unicode may come from anywhere, and a server never ends
        if len(self) < _REMEMBERED:
            self[number] = letters
        return letters

    def _become(self, letter: str) -> str:
        # marks change places and join with what stands before them; of unassigned numbers the tokenizer's Unicode may know more
        if unicodedata.category(letter) in ("Mn", "Mc", "Me", "Cn", "Cs"):
            raise AskTokenizer
        normal = letter if self._normalizer is None else self._normalizer.normalize_str(letter)
        return "".join(map(self._between, normal))

    def _between(self, letter: str) -> str:
        """Return a normalized character with a space on each side where it is a word of its own, or a space for one that is dropped."""
        # two letters around it: a space leaves them apart, punctuation stands between them, and all else makes one word of the three
        match [part for part, _ in self._cutter.pre_tokenize_str(f"a{letter}a")]:
            case ["a", "a"]:
                return " "
            # what Python's split takes for a space and the tokenizer does not would be lost
            case ["a", mark, "a"] if mark == letter and not letter.isspace():
                return f" {letter} "
            case [whole] if whole == f"a{letter}a" and not letter.isspace():
                return letter
        raise AskTokenizer


class WordPieces:
    """Cuts words as a WordPiece tokenizer does.

    Args:
        tokenizer: its model is ``WordPiece``, its normalizers are of :data:`CHARACTERWISE`, and its words end at white space and around
            punctuation, whatever stands beside them.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        model: Any = tokenizer.model
        assert isinstance(model, WordPiece)
        self._letters = _Letters(tokenizer)
        self._table: dict[str, int] = tokenizer.get_vocab(with_added_tokens=False)
        self._inside, self._most = str(model.continuing_subword_prefix), int(model.max_input_chars_per_word)
        self._unknown = self._table.get(model.unk_token)
        # no piece is longer, so no longer part of a word needs to be looked up
        self._longest = max(map(len, self._table), default=0)

    def ids(self, text: str) -> tuple[int, ...]:
        """Return the ids of a text without special tokens.

        Raises:
            AskTokenizer: it has a character whose neighbors matter, or a word without pieces and no id stands for such words.
        """
        ids: list[int] = []
        for word in text.translate(self._letters).split():
            whole = self._table.get(word) if len(word) <= self._most else None
            # most words are a piece each
            ids += self._pieces(word) if whole is None else (whole,)
        return tuple(ids)

    def _pieces(self, word: str) -> list[int]:
        """Return the longest piece from each place on; the unknown id alone where there is none."""
        found: list[int] = []
        start, size = 0, len(word)
        # a word of too many characters is unknown as a whole, whatever pieces it has
        while start < size <= self._most:
            mark = self._inside if start else ""
            for end in range(min(size, start + self._longest), start, -1):
                piece = self._table.get(mark + word[start:end])
                if piece is not None:
                    found.append(piece)
                    start = end
                    break
            else:
                # one place without a piece makes the whole word unknown
                break
        if start == size:
            return found
        if self._unknown is None:
            raise AskTokenizer
        return [self._unknown]
