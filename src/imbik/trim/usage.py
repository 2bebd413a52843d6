"""How often a corpus uses each word piece, streamed: memory does not grow with the text, and a kill loses seconds."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
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

_CHUNK = 1 << 20
"""Characters that are tokenized at once."""

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
    1024
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
    held, sample, seen = TextWriter(), [], 0
    total = max(1, sum(source.bytes for source in sources) >> 20)
    saved, passed = time.monotonic(), 0
    with progress.track("counting word pieces", total) as bar:
        for texts in _chunks(sources):
            apart = [is_held_back(text, share) for text in texts]
            held.add([text for text, out in zip(texts, apart, strict=True) if out])
            kept = [text for text, out in zip(texts, apart, strict=True) if not out]
            sample += [text[:_LONGEST] for text in kept[: _SAMPLE - len(sample)]]
            seen += len(kept)
            if seen > done:  # else counted before a kill
                counts += _count(kept, backend, rows)
                done, characters = seen, characters + sum(map(len, kept))
            if time.monotonic() - saved > _SAVE:
                _write(note, counts, done, characters)
                saved = time.monotonic()
            size = sum(map(_bytes, texts))
            bar.advance(((passed + size) >> 20) - (passed >> 20))
            passed += size
    if not done:
        where = ", ".join(source.source for source in sources)
        raise UserError("no text to count word pieces in", where=where, expected="texts in the language that is to stay")
    return Usage(counts, done, characters, held.close(), sample)


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def _count(texts: Sequence[str], backend: Tokenizer, rows: int) -> NDArray[np.int64]:
    ids = [np.asarray(encoding.ids, np.int64) for encoding in backend.encode_batch_fast(texts, add_special_tokens=False)]
    return np.bincount(np.concatenate([np.zeros(0, np.int64), *ids]), minlength=rows)


def _chunks(sources: Sequence[Documents]) -> Iterator[list[str]]:
    """Yield documents in lists of about a million characters."""
    texts: list[str] = []
    size = 0
    for source in sources:
        for document in source.stream():
            # an unpaired surrogate stands in no file of UTF-8, but JSON can spell one
            texts.append(document.encode(errors="replace").decode() if not document.isascii() else document)
            size += len(document)
            if size > _CHUNK:
                yield texts
                texts, size = [], 0
    if texts:
        yield texts


def _noted(note: Path, rows: int) -> tuple[NDArray[np.int64], int, int]:
    """Return the count that a killed run wrote: counts, documents, characters."""
    if not note.is_file():
        return np.zeros(rows, np.int64), 0, 0
    with np.load(note) as stored:
        return stored["counts"], int(stored["documents"]), int(stored["characters"])


def _write(note: Path, counts: NDArray[np.int64], documents: int, characters: int) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    with replacing(note) as temporary, temporary.open("wb") as file:
        np.savez(file, counts=counts, documents=documents, characters=characters)
