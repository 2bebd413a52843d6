"""A column of images that lives in files: each is read when it is asked for."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, overload

import numpy as np
from numpy.typing import NDArray

from imbik.errors import UserError


class ImageStore(Sequence[bytes]):
    """N images as the bytes of their files, with a name for each.

    Bytes that stood in a table (Parquet) lie in an unnamed temporary file; files of a folder stay where they are.

    Args:
        names: what messages and reports call each: its path, or its row.
        offsets: ``(N + 1,)`` where each begins in ``file``; of equal ones the name is a path.
        digests: ``(N, 16)`` uint8, of each one's bytes.
        file: the bytes of those that lie in no file of their own.
        rows: which of them this is a view of.
    """

    def __init__(
        self, names: Sequence[str], offsets: NDArray[np.int64], digests: NDArray[np.uint8], file: IO[bytes], rows: NDArray[np.int64]
    ) -> None:
        self._names, self._offsets, self._digests, self._file, self._rows = names, offsets, digests, file, rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> ImageStore: ...

    def __getitem__(self, index: int | slice) -> bytes | ImageStore:
        """Return the bytes at ``index``, or a view of a slice.

        Raises:
            IndexError: outside the store.
            UserError: a file is gone.
        """
        if isinstance(index, slice):
            return self.take(np.arange(*index.indices(len(self)), dtype=np.int64))
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        row = int(self._rows[index])
        # an image in a file of its own takes no room in ours
        start, stop = int(self._offsets[row]), int(self._offsets[row + 1])
        if start < stop:
            self._file.seek(start)
            return self._file.read(stop - start)
        try:
            return Path(self._names[row]).read_bytes()
        except OSError as error:
            raise UserError("the image cannot be read", where=self._names[row], found=error.strerror or str(error)) from None

    def name(self, index: int) -> str:
        """Return what an image is called."""
        return self._names[int(self._rows[index])]

    def short_name(self, index: int) -> str:
        """Return what readers are shown: of a path the folder and the file, which tell the class too."""
        name, row = self.name(index), int(self._rows[index])
        return name if self._offsets[row] < self._offsets[row + 1] else "/".join(Path(name).parts[-2:])

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> ImageStore:
        """Return a view of the images at ``indices``, in that order; nothing is copied."""
        chosen = self._rows[np.asarray(indices, np.int64)]
        return ImageStore(self._names, self._offsets, self._digests, self._file, chosen)

    def digest(self) -> bytes:
        """Return the sha256 of the content: of the digests of the images, in their order."""
        return hashlib.sha256(self._digests[self._rows].tobytes()).digest()


class ImageWriter:
    """Collects images into an :class:`ImageStore`; only names, places and digests stay in memory."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="imbik-")  # noqa: SIM115 - the store keeps it open
        self._names: list[str] = []
        self._lengths = [0]
        self._digests: list[bytes] = []

    def add(self, name: str, data: bytes, *, kept: bool) -> None:
        """Append an image.

        Args:
            name: its path where it lies in a file, else its row.
            data: its bytes.
            kept: whether they are written to the store; False: they stay in the file of this name.
        """
        if kept:
            self._file.write(data)
        self._names.append(name)
        self._lengths.append(len(data) if kept else 0)
        self._digests.append(hashlib.blake2b(data, digest_size=16).digest())

    def close(self) -> ImageStore:
        """Return the finished store."""
        self._file.flush()
        # 16 bytes an image: a million take 16 MB
        digests = np.frombuffer(b"".join(self._digests), np.uint8).reshape(-1, 16)
        return ImageStore(self._names, np.cumsum(self._lengths), digests, self._file, np.arange(len(self._names)))


def shown(rows: Sequence[object]) -> Sequence[str]:
    """Return how readers are shown some rows: texts as they are, images by their names.

    >>> shown(["a text"])
    ['a text']
    """
    return [rows.short_name(row) for row in range(len(rows))] if isinstance(rows, ImageStore) else rows  # type: ignore[return-value]
