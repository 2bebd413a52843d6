"""A text column that lives in a file: a million texts cost no more memory than ten thousand."""

from __future__ import annotations

import hashlib
import mmap
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import IO, overload

import numpy as np
from numpy.typing import NDArray

_CHUNK = 4096  # texts read at once by iteration and by the fingerprint
_WINDOW = 4 << 20  # mapped bytes after which the pages are handed back to the system
_FAULT = 64 << 10  # what the kernel maps around one touched byte


class _Blob:
    """The UTF-8 bytes of all texts behind each other in an unnamed temporary file, mapped for reading.

    Touched pages would count as ours until memory runs short, so they are handed back after every ``_WINDOW`` bytes.
    """

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.file = file
        self.size = size
        self._touched = 0
        self._map = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) if size else None

    def read(self, start: int, stop: int) -> bytes:
        """Return bytes ``start`` to ``stop``."""
        if self._map is None or stop <= start:
            return b""
        piece = self._map[start:stop]
        self._touched += len(piece) + _FAULT
        if self._touched > _WINDOW:
            self._touched = 0
            # Windows has no such call
            if hasattr(mmap, "MADV_DONTNEED"):
                self._map.madvise(mmap.MADV_DONTNEED)
        return piece


class TextStore(Sequence[str]):
    """N texts in a memory-mapped file; indexing, slicing and iterating decode only what is asked for.

    >>> store = TextStore.of(["one", "zwölf", ""])
    >>> len(store), store[1], list(store[1:]), list(store.take([2, 0]))
    (3, 'zwölf', ['zwölf', ''], ['', 'one'])
    """

    def __init__(self, blob: _Blob, offsets: NDArray[np.int64], rows: NDArray[np.int64] | None = None) -> None:
        self._blob = blob
        self._offsets = offsets
        self._rows = rows

    @classmethod
    def of(cls, texts: Iterable[str]) -> TextStore:
        """Return a store with these texts."""
        writer = TextWriter()
        writer.add(list(texts))
        return writer.close()

    def __len__(self) -> int:
        return len(self._offsets) - 1 if self._rows is None else len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> TextStore: ...

    def __getitem__(self, index: int | slice) -> str | TextStore:
        """Return the text at ``index``, or a view of a slice.

        Raises:
            IndexError: outside the store.
        """
        if isinstance(index, slice):
            return self.take(np.arange(*index.indices(len(self)), dtype=np.int64))
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        row = index % len(self)
        if self._rows is not None:
            row = int(self._rows[row])
        return self._blob.read(int(self._offsets[row]), int(self._offsets[row + 1])).decode()

    def __iter__(self) -> Iterator[str]:
        for pieces in self._pieces():
            for piece in pieces:
                yield piece.decode()

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> TextStore:
        """Return a view of the texts at ``indices``, in that order; no text is copied."""
        chosen = np.asarray(indices, dtype=np.int64)
        rows = chosen if self._rows is None else self._rows[chosen]
        return TextStore(self._blob, self._offsets, rows)

    def lengths(self) -> NDArray[np.int64]:
        """Return the UTF-8 bytes of each text, (N,)."""
        lengths = np.diff(self._offsets)
        return lengths if self._rows is None else lengths[self._rows]

    def digest(self) -> bytes:
        """Return the sha256 of the content: of the texts' bytes and of their lengths; the same for a view and for a copy."""
        content = hashlib.sha256()
        for pieces in self._pieces():
            content.update(b"".join(pieces))
        lengths = hashlib.sha256(self.lengths().astype("<i8").tobytes())
        return hashlib.sha256(content.digest() + lengths.digest()).digest()

    def _pieces(self) -> Iterator[list[bytes]]:
        """Yield the texts' bytes, ``_CHUNK`` texts at a time; whole stores are read in one piece per chunk."""
        for low in range(0, len(self), _CHUNK):
            high = min(low + _CHUNK, len(self))
            if self._rows is None:
                yield self._stretch(low, high)
                continue
            rows = self._rows[low:high]
            first, last = int(rows.min()), int(rows.max())
            if last - first < 4 * len(rows):  # nearly a stretch of the file: one read, then pick
                stretch = self._stretch(first, last + 1)
                yield [stretch[row - first] for row in rows.tolist()]
            else:
                bounds = zip(self._offsets[rows].tolist(), self._offsets[rows + 1].tolist(), strict=True)
                yield [self._blob.read(start, stop) for start, stop in bounds]

    def _stretch(self, low: int, high: int) -> list[bytes]:
        offsets = self._offsets[low : high + 1]
        data = self._blob.read(int(offsets[0]), int(offsets[-1]))
        bounds = (offsets - offsets[0]).tolist()
        return [data[a:b] for a, b in pairwise(bounds)]


class TextWriter:
    """Collects texts into a :class:`TextStore`; only offsets stay in memory while it writes."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="imbik-")  # noqa: SIM115 - the store keeps it open
        self._lengths: list[NDArray[np.int64]] = []

    def add(self, texts: Sequence[str]) -> None:
        """Append texts.

        Raises:
            UnicodeEncodeError: a text holds an unpaired surrogate, which no encoding can write.
        """
        data = "".join(texts).encode()
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        if lengths.sum() != len(data):  # not ASCII: characters and bytes differ
            lengths = np.fromiter((len(text.encode()) for text in texts), np.int64, len(texts))
        self._file.write(data)
        self._lengths.append(lengths)

    def close(self) -> TextStore:
        """Return the finished store."""
        self._file.flush()
        offsets = np.zeros(sum(map(len, self._lengths)) + 1, np.int64)
        if len(offsets) > 1:
            np.cumsum(np.concatenate(self._lengths), out=offsets[1:])
        return TextStore(_Blob(self._file, int(offsets[-1])), offsets)
