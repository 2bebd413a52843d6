"""The part of a long text that decides its tokens, and where its characters stand in the whole text.

A tokenizer looks at all of a text before it cuts it, which takes seconds for a text of megabytes.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tokenizers.models import WordPiece

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_CHARACTERS = 16
"""Characters of a text that are looked at first, for each token that is kept."""

_SLACK = 256
"""Tokens behind those that are kept which must be there before the rest of a text is left alone: more than a torn word can change."""

_BY_CHARACTER = {"BertNormalizer", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"}
"""Normalizers that leave a space as it is and look at nothing across one."""

_DISTINCT = 4096
"""Different characters of a text that are asked for, at most: no language's texts have more."""

_JAMO = range(0x1100, 0x1200)
"""Parts of Korean letters, which may become one."""


@dataclass(frozen=True)
class Excerpt:
    """A text without what changes none of its tokens.

    Attributes:
        text: what is left.
        gaps: places of ``text`` in front of which characters are missing, ascending, each with their number.
    """

    text: str
    gaps: tuple[tuple[int, int], ...] = ()

    def place(self, at: int) -> int:
        """Return where a character of the excerpt stands in the whole text.

        >>> Excerpt("acd", ((1, 40),)).place(2)
        42
        """
        return at + sum(missing for place, missing in self.gaps if place <= at)

    def start(self, size: int) -> Excerpt:
        """Return the first ``size`` characters."""
        return Excerpt(self.text[:size], tuple(gap for gap in self.gaps if gap[0] < size))

    def end(self, size: int) -> Excerpt:
        """Return the last ``size`` characters."""
        first = len(self.text) - size
        return Excerpt(self.text[first:], ((0, self.place(first)), *((place - first, n) for place, n in self.gaps if place > first)))


def excerpt(tokenizer: Tokenizer, text: str, max_length: int | None, side: str) -> Excerpt:
    """Return the part of a text that has the tokens of all of it.

    Args:
        tokenizer: set by :func:`imbik.data.windows.cut`.
        text: of any length.
        max_length: tokens of a row; None: all of them are kept, in windows.
        side: where longer texts are cut.
    """
    size, whole = short(max_length), Excerpt(text)
    if len(text) <= size:
        return whole
    if max_length is not None and (part := _enough(tokenizer, whole, size, max_length, side)):
        return part
    whole = _squeezed(tokenizer, text)
    if max_length is not None:
        while size < len(whole.text):
            if part := _enough(tokenizer, whole, size, max_length, side):
                return part
            size *= 4
    return whole


def short(max_length: int | None) -> int:
    """Return the characters of a text up to which all of it is looked at."""
    return _CHARACTERS * ((max_length or 0) + _SLACK)


def words_apart(tokenizer: Tokenizer) -> bool:
    """Return whether a tokenizer looks at every word of a text alone, as BERT's do: what stands between spaces and punctuation."""
    cut = tokenizer.pre_tokenizer is not None and state_of(tokenizer.pre_tokenizer)["type"] == "BertPreTokenizer"
    return cut and isinstance(tokenizer.model, WordPiece) and normalizers_of(tokenizer) <= _BY_CHARACTER


def normalizers_of(tokenizer: Tokenizer) -> set[str]:
    """Return the kinds of what changes a text before it is cut."""
    whole = [state_of(tokenizer.normalizer)] if tokenizer.normalizer is not None else []
    return {one["type"] for kind in whole for one in (kind["normalizers"] if kind["type"] == "Sequence" else [kind])}


def state_of(part: Any) -> dict[str, Any]:
    """Return a tokenizer's part as ``tokenizer.json`` describes it."""
    state: dict[str, Any] = json.loads(part.__getstate__())
    return state


def _enough(tokenizer: Tokenizer, whole: Excerpt, size: int, max_length: int, side: str) -> Excerpt | None:
    """Return about ``size`` characters from the end that is kept; None where they have too few tokens."""
    size = _torn(whole.text, size, side)
    part = whole.end(size) if side == "left" else whole.start(size)
    text = part.text.encode("utf-8", "replace").decode("utf-8")
    encoding = tokenizer.encode_batch_fast([text], add_special_tokens=False)[0]
    found = len(encoding.ids) + sum(len(rest.ids) for rest in encoding.overflowing)
    return Excerpt(text, part.gaps) if found >= max_length + _SLACK else None


def _torn(text: str, size: int, side: str) -> int:
    """Return about how many characters to keep, so that a text is torn between words where there are any."""
    if side == "left":
        part = text[-size:]
        spaces = [place for mark in " \n\t" if 0 <= (place := part.find(mark)) < size // 4]
        return size - min(spaces) if spaces else size
    spaces = [place for mark in " \n\t" if (place := text.rfind(mark, size - size // 4, size)) > 0]
    return max(spaces) if spaces else size


def _squeezed(tokenizer: Tokenizer, text: str) -> Excerpt:
    """Return a text whose long runs have lost their insides, where a tokenizer reads no more of them.

    WordPiece gives a word of more than 100 characters one token, whatever they are; between words it skips any number of spaces; and
    what its normalizer drops is dropped together.
    """
    added = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    # an added token of letters alone is found inside of a word, too
    if not words_apart(tokenizer) or any(all(kind_of(tokenizer, letter) for letter in content) for content in added):
        return Excerpt(text)
    text = text.encode("utf-8", "replace").decode("utf-8")
    # to ask for so many would take as long as to read the text
    if len(set(text)) > _DISTINCT:
        return Excerpt(text)
    kept = max(int(tokenizer.model.max_input_chars_per_word), *map(len, added), 0) + 1
    parts, gaps, before, length = list[str](), list[tuple[int, int]](), 0, 0
    for first, last in _insides(tokenizer, text, kept):
        parts.append(text[before:first])
        length += first - before
        gaps.append((length, last - first))
        before = last
    return Excerpt("".join([*parts, text[before:]]), tuple(gaps))


def _insides(tokenizer: Tokenizer, text: str, kept: int) -> Iterator[tuple[int, int]]:
    """Yield where the inside of each long run of one kind begins and ends: all of it but ``kept`` characters at either end."""
    kinds: dict[str, list[str]] = {}
    for character in set(text):
        if kind := kind_of(tokenizer, character):
            kinds.setdefault(kind, []).append(re.escape(character))
    runs = "|".join(f"[{''.join(characters)}]{{{2 * kept + 1},}}" for characters in kinds.values())
    for run in re.finditer(runs, text) if runs else ():
        yield run.start() + kept, run.end() - kept


def kind_of(tokenizer: Tokenizer, character: str) -> str:
    """Return what a character is to a tokenizer that looks at words alone: ``dropped``, a ``space``, a ``letter`` or a ``mark`` that may
    become one with a letter; empty for one that ends a word, or may become one with its like.
    """
    normal = tokenizer.normalizer.normalize_str(3 * character) if tokenizer.normalizer is not None else 3 * character
    if not normal:
        return "dropped"
    words = tokenizer.pre_tokenizer.pre_tokenize_str(normal)
    if not words:
        return "space"
    if len(words) > 1 or len(normal) < 3 or ord(character) in _JAMO:
        return ""
    return "mark" if unicodedata.category(character)[0] == "M" else "letter"
