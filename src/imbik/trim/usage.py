"""How often a corpus uses each word piece, streamed: memory does not grow with the text, and a kill loses seconds."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from imbik.data.documents import Documents
from imbik.data.text_store import TextStore, TextWriter
from imbik.errors import UserError
from imbik.jobs.files import replacing
from imbik.jobs.progress import Progress
from imbik.jobs.reading import damage_told

_CHUNK = 1 << 20
"""Characters that are tokenized at once."""

_WORDS = 300_000
"""Different words that are gathered before they are cut."""

_SAVE = 20.0
"""Seconds between two notes of how far the count has come."""

_SAMPLE, _LONGEST = 64, 400
"""Texts that are kept to ask the model before and after, and their characters."""


@dataclass(frozen=True)
class Usage:
    """What a corpus uses.

    Attributes:
        counts: occurrences of each id, ``(V,)``.
        documents, characters: that were counted.
        held_back: documents that were not, see :func:`is_held_back`.
        sample: the first counted texts.
    """

    counts: NDArray[np.int64]
    documents: int
    characters: int
    held_back: TextStore
    sample: Sequence[str]


def is_held_back(document: str, share: float) -> bool:
    """Return whether a document is held back from the count: by a hash of its text, so that all of its copies are.

    >>> sum(is_held_back(str(number), 0.1) for number in range(10_000))
    980
    """
    return int.from_bytes(hashlib.blake2b(document.encode(errors="replace"), digest_size=8).digest(), "little") < share * 2.0**64


def count_pieces(sources: Sequence[Documents], backend: Tokenizer, rows: int, share: float, note: Path, progress: Progress) -> Usage:
    """Count how often each piece occurs; goes on after a kill where the last note was written.

    Args:
        sources: the corpus.
        backend: the tokenizer; it neither cuts nor pads.
        rows: V.
        share: of the documents that are held back.
        note: file of the count so far.
        progress: where progress is shown.

    Raises:
        UserError: no text.
    """
    counts, done, characters = _noted(note, rows)
    counter = _Counter(backend, counts)
    held, seen = TextWriter(), 0
    sample: list[str] = []
    total = max(1, sum(source.bytes for source in sources) >> 20)
    saved, passed = time.monotonic(), 0
    with progress.track("counting word pieces", total) as bar:
        for texts in in_chunks((text for source in sources for text in source.stream()), _CHUNK):
            apart = [is_held_back(text, share) for text in texts]
            held.add([text for text, out in zip(texts, apart, strict=True) if out])
            kept = [text for text, out in zip(texts, apart, strict=True) if not out]
            # of the texts that are counted: what they need all stays, so answers to them must not change
            sample += [text[:_LONGEST] for text in kept[: _SAMPLE - len(sample)]]
            seen += len(kept)
            # the held-back texts are gathered anew after a kill: their store is not kept, it is small
            if seen > done:  # else counted before a kill
                counter.count(kept)
                done, characters = seen, characters + sum(map(len, kept))
            if time.monotonic() - saved > _SAVE:
                _save_note(note, counter.total(), done, characters)
                saved = time.monotonic()
            size = sum(map(_bytes, texts))
            # at most the whole: a context of many questions, or a compressed file, gives more text than it has bytes
            bar.advance(min(total, (passed + size) >> 20) - min(total, passed >> 20))
            passed += size
    if not done:
        where = ", ".join(source.source for source in sources)
        raise UserError("no text to count word pieces in", where=where, expected="texts in the language that is to stay")
    return Usage(counter.total(), done, characters, held.close(), sample)


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


class _Counter:
    """Counts pieces word by word, each word cut once and counted as often as it came: several times as fast as cutting the texts.

    That is the same where a word is cut alike whatever stands beside it; whether it is, the first texts tell. If not, texts are cut whole.
    """

    def __init__(self, backend: Tokenizer, counts: NDArray[np.int64]) -> None:
        self.backend, self.counts = backend, counts
        self.by_word: bool | None = None
        self.words: Counter[str] = Counter()

    def count(self, texts: Sequence[str]) -> None:
        """Count some texts."""
        if self.by_word:
            for text in texts:
                self.words.update(text.split())
            # bounded memory: a corpus brings new words without end
            if len(self.words) > _WORDS:
                self.total()
            return
        whole = self._cut(texts, np.ones(len(texts), np.int64))
        if self.by_word is None:
            words = Counter(word for text in texts for word in text.split())
            self.by_word = bool(np.array_equal(whole, self._cut(list(words), np.array(list(words.values()), np.int64))))
        self.counts += whole

    def total(self) -> NDArray[np.int64]:
        """Return how often each piece came so far."""
        if self.words:
            self.counts += self._cut(list(self.words), np.array(list(self.words.values()), np.int64))
            self.words.clear()
        return self.counts

    def _cut(self, texts: Sequence[str], times: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the pieces of some texts that came so often each."""
        ids = [np.asarray(one.ids, np.int64) for one in self.backend.encode_batch_fast(texts, add_special_tokens=False)]
        weights = np.repeat(times, [len(one) for one in ids])
        # float64 holds whole numbers up to 2^53
        return np.bincount(np.concatenate([np.zeros(0, np.int64), *ids]), weights, len(self.counts)).astype(np.int64)


def in_chunks(documents: Iterable[str], characters: int) -> Iterator[list[str]]:
    """Yield texts in lists of about so many characters, so that what is made of a list does not grow with the texts.

    >>> list(in_chunks(["abc", "de", "f"], 3))
    [['abc', 'de'], ['f']]
    """
    texts: list[str] = []
    size = 0
    for document in documents:
        # an unpaired surrogate stands in no file of UTF-8, but JSON can spell one
        texts.append(document.encode(errors="replace").decode() if not document.isascii() else document)
        size += len(document)
        if size > characters:
            yield texts
            texts, size = [], 0
    if texts:
        yield texts


def _noted(note: Path, rows: int) -> tuple[NDArray[np.int64], int, int]:
    """Return the count that a killed run wrote: counts, documents, characters."""
    if not note.is_file():
        return np.zeros(rows, np.int64), 0, 0
    told = damage_told("the count of an earlier run cannot be read", note, fix="delete it; the count begins anew then")
    with told, np.load(note) as stored:
        counts = stored["counts"]
        if counts.shape != (rows,) or counts.dtype != np.int64:
            raise ValueError(f"{counts.dtype} {counts.shape} instead of int64 {(rows,)}")
        return counts, int(stored["documents"]), int(stored["characters"])


def _save_note(note: Path, counts: NDArray[np.int64], documents: int, characters: int) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    with replacing(note) as temporary, temporary.open("wb") as file:
        np.savez(file, counts=counts, documents=documents, characters=characters)
