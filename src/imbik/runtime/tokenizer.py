"""Texts to token ids at run time, with a memory for words.

BERT's tokenizers cut a text at spaces and look at each word alone. So the ids of a text are those of its words one after the other, and
words repeat: what became of a word is kept, and a text of known words costs a few look-ups. A new word is cut in Python where that is
sure to give the tokenizer's ids (:mod:`imbik.runtime.wordpiece`), else by the tokenizer itself. A text with a word that cannot be
remembered, and every text of a tokenizer that does not work word by word, goes through it as a whole.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from tokenizers import Tokenizer

from imbik.data.excerpts import normalizers_of, short, state_of, words_apart
from imbik.data.tokens import cleaned, encoded_rows, not_a_string, shortened
from imbik.data.windows import cut, fitting
from imbik.runtime.nano import encoder
from imbik.runtime.ngrams import NgramTokenizer
from imbik.runtime.wordpiece import CHARACTERWISE, AskTokenizer, WordPieces

WORDS = 16384
"""Words that are remembered, at most: some 4 MB."""

MANY = 64
"""Texts from which on words are tokenized alone where there is no room to remember them."""

LONGEST = 48
"""Characters of a word that is remembered, at most."""


def reader_of(
    tokenizer: Tokenizer | NgramTokenizer, max_length: int, side: str, overlap: float, *, paired: bool
) -> NgramTokenizer | RuntimeTokenizer:
    """Return what turns texts into ids; n-grams are a set, which is neither cut nor remembered.

    Args:
        tokenizer: of an artefact or a checkpoint.
        max_length, side, overlap, paired: see :class:`RuntimeTokenizer`.
    """
    if isinstance(tokenizer, NgramTokenizer):
        return tokenizer
    return RuntimeTokenizer(tokenizer, max_length, side, overlap, paired=paired)


class _Words(dict[str, tuple[int, ...]]):
    """The memory: word -> its ids; a word that is not there is cut and put there, as long as there is room.

    Args:
        words: what it holds at first.
        cut: gives a word's ids, or None where only the tokenizer can; then the word is a ``KeyError``, as without it.
        most: words that it holds, at most.
    """

    def __init__(self, words: Mapping[str, tuple[int, ...]], cut: Callable[[str], tuple[int, ...] | None], most: int) -> None:
        super().__init__(words)
        self._cut, self._most = cut, most

    def __missing__(self, word: str) -> tuple[int, ...]:
        ids = self._cut(word)
        if ids is None:
            raise KeyError(word)
        # a word for which there is no room is cut each time that it comes
        if len(self) < self._most:
            self[word] = ids
        return ids


class RuntimeTokenizer:
    """A ``tokenizers`` tokenizer for the runtime.

    Args:
        tokenizer: its padding is switched off and its truncation set.
        max_length: tokens that a text is cut to, special ones included.
        side: where it is cut, ``right`` or ``left``.
        overlap: above 0, long texts become windows instead (:func:`imbik.data.windows.cut`).
        paired: whether rows are pairs of texts.

    Attributes:
        max_length: see above.
        words: what is remembered: word -> its ids. Empty for a tokenizer that does not work word by word.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int, side: str = "right", overlap: float = 0.0, *, paired: bool = False) -> None:
        cut(tokenizer, max_length, side, overlap, paired=paired)
        self.tokenizer = tokenizer
        # windows keep all of a text
        self.max_length, self._side, self._kept = max_length, side, None if overlap > 0 else max_length
        self._short = short(self._kept)
        # cut on the left, the words that stay are known only when all of them are
        frame = _frame(tokenizer) if side == "right" and _by_word(tokenizer) else None
        self._before, self._after = frame or ((), ())
        # what is left for words, since special tokens are never cut off
        self._room = max_length - len(self._before) - len(self._after)
        self._remembers = frame is not None and self._room > 0
        # by the first character: a word that may hold the start of a special token goes the long
        # way
        self._encode = encoder(tokenizer, max_length, len(self._after)) if self._remembers else None
        self._special = {token.content[:1] for token in tokenizer.get_added_tokens_decoder().values()}
        self._alone = self._remembers and normalizers_of(tokenizer) <= CHARACTERWISE
        self.remember({})

    def ids(self, texts: Sequence[str], first: int = 0) -> list[list[int]]:
        """Token ids of every text, special ones included.

        Args:
            texts: N texts.
            first: row number of the first text, for messages.

        Raises:
            UserError: a text is not a string.
        """
        if self._encode is not None:
            # what is no text, or no Unicode, is told or mended below
            with contextlib.suppress(TypeError, UnicodeError):
                return self._encode(self._excerpts(texts))
        # as a local name: it is read once a text
        most = self._short
        found: list[list[int] | None] = [self._recall(text, most) for text in texts] if self._remembers else [None] * len(texts)
        return found if None not in found else self._with_tokenizer(texts, found, first)  # type: ignore[return-value]  # none is None

    def _excerpts(self, texts: Sequence[str]) -> list[Any]:
        """Return texts, those too long to be read in full as excerpts with the same tokens."""
        most = self._short
        # written out: a call for every text would cost as much as the words of a short one
        return [
            text if isinstance(text, str) and len(text) <= most else shortened(self.tokenizer, text, self._kept, self._side)
            for text in texts
        ]

    def _with_tokenizer(self, texts: Sequence[str], found: list[list[int] | None], first: int) -> list[list[int]]:
        """Return ids, those that are None filled in: of long texts, and of those with a word that only the tokenizer can cut."""
        texts = self._excerpts(texts)
        if self._remembers:
            found = [self._recall(text, sys.maxsize) if ids is None else ids for text, ids in zip(texts, found, strict=True)]
            new = [text for text, ids in zip(texts, found, strict=True) if ids is None and isinstance(text, str)]
            learned, surplus = self._learn(new)
            if learned:
                found = [self._recall(text, sys.maxsize) if ids is None else ids for text, ids in zip(texts, found, strict=True)]
            for word in surplus:
                self.words.pop(word, None)  # another thread may have been quicker
        left = [row for row, ids in enumerate(found) if ids is None]
        for row in left:
            if not isinstance(texts[row], str):  # a tuple would be taken for a pair
                raise not_a_string(texts[row], first + row)
        for row, encoding in zip(left, self.encodings([texts[row] for row in left], [first + row for row in left]), strict=True):
            found[row] = encoding.ids
        return found  # type: ignore[return-value]  # none is None any more

    def remembered(self) -> dict[str, tuple[int, ...]]:
        """Return a copy of the memory for words."""
        return dict(self.words)

    def remember(self, words: Mapping[str, tuple[int, ...]]) -> None:
        """Put a copy of :meth:`remembered` in the place of the memory; an empty one is that of a process that has seen no text yet."""
        self.words = _Words(words, self._cut, WORDS)

    @cached_property
    def _pieces(self) -> WordPieces:
        """What cuts words in Python: made when the first new word comes, since a large table takes a while to be copied."""
        return WordPieces(self.tokenizer)

    def _cut(self, word: str) -> tuple[int, ...] | None:
        """The ids of a new word; None where the tokenizer must be asked."""
        if not (self._alone and self._ordinary(word)):
            return None
        try:
            return self._pieces.ids(word)
        except AskTokenizer:
            return None

    def fitting(self, rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
        """Return pairs whose first texts leave room for windows of the second, see :func:`imbik.data.windows.fitting`."""
        try:
            return fitting(self.tokenizer, rows, self.max_length)
        # cleaned only where it is needed, as in `encodings`
        except (TypeError, UnicodeError):
            return fitting(self.tokenizer, [cleaned(row, number) for number, row in enumerate(rows)], self.max_length)

    def encodings(self, rows: Sequence[Any], numbers: Sequence[int] | range, *, offsets: bool = False) -> list[Any]:
        """Return what the tokenizer makes of texts, or of pairs of texts, as they stand.

        Args:
            rows: texts, or pairs of texts.
            numbers: of the rows, for messages.
            offsets: whether each token's place in its text is needed, which takes longer.

        Raises:
            UserError: a text is not a string.
        """
        if not rows:
            return []
        return encoded_rows(self.tokenizer, rows, numbers, self._kept, self._side, offsets=offsets)

    def _recall(self, text: str, longest: int) -> list[int] | None:
        """The ids of a text of words that are known or can be cut here, of at most so many characters; None for another one."""
        words, ids = self.words, [*self._before]
        try:
            if len(text) > longest:
                return None
            for word in text.split(" "):
                # an exception for the rare case is cheaper than a test for every word
                ids += words[word]
        except (KeyError, AttributeError, TypeError):
            return None
        # cut as the tokenizer cuts: words first, special tokens behind
        del ids[len(self._before) + self._room :]
        ids += self._after
        return ids

    def _learn(self, texts: Sequence[str]) -> tuple[bool, list[str]]:
        """Remember the words of some texts; return whether any is new, and those without room: to be forgotten afterwards."""
        # split(" ") and not split(): other white space is the tokenizer's business and part of the
        # word
        words = {word for text in texts for word in text.split(" ")}
        new = [word for word in words if word not in self.words and self._ordinary(word)]
        room = max(0, WORDS - len(self.words))
        # many texts have words in common, and each is tokenized once; a few go through the tokenizer as a whole as quickly
        new = new if len(texts) >= MANY else new[:room]
        encodings = self.tokenizer.encode_batch_fast(new, add_special_tokens=False) if new else []
        self.words.update((word, tuple(encoding.ids)) for word, encoding in zip(new, encodings, strict=True))
        return bool(new), new[room:]

    def _ordinary(self, word: str) -> bool:
        """Whether a word is short, is Unicode, and can hold no part of a special token."""
        if len(word) > LONGEST or not self._special.isdisjoint(word):
            return False
        # the usual case, told without a copy; what else has no encoding are surrogates
        if word.isascii():
            return True
        try:
            word.encode()
        except UnicodeError:
            return False
        return True


def _by_word(tokenizer: Tokenizer) -> bool:
    """Whether the ids of a text are those of its parts between spaces, one after the other.

    An added token that is sought in the normalized text, or begins with a space, may stand where no word shows it.
    """
    if not words_apart(tokenizer):
        return False
    added = tokenizer.get_added_tokens_decoder().values()
    return all(token.content and not token.content[0].isspace() and not token.normalized for token in added)


def _frame(tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The special ids before and after a single text; None where they do not stand like that."""
    if tokenizer.post_processor is None:
        return (), ()
    state = state_of(tokenizer.post_processor)
    if state["type"] == "BertProcessing":
        return (int(state["cls"][1]),), (int(state["sep"][1]),)
    if state["type"] != "TemplateProcessing":
        return None
    parts: list[tuple[int, ...]] = [()]
    for piece in state["single"]:
        if "Sequence" in piece:
            parts.append(())
        else:
            parts[-1] += tuple(state["special_tokens"][piece["SpecialToken"]["id"]]["ids"])
    return (parts[0], parts[1]) if len(parts) == 2 else None
