"""Images with what messages call each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import overload


class NamedImages(Sequence[object]):
    """N images as whatever :func:`imbik.images.decode.decode` takes, with a name for each.

    Args:
        images: paths, the bytes of files, arrays; what is none of these is refused by its name when it is decoded.
        names: what messages call them.

    >>> some = NamedImages(["a.png", b"..."], ["a.png", "data.parquet, row 1"])
    >>> some[1:].name(0), len(some + some)
    ('data.parquet, row 1', 4)
    """

    def __init__(self, images: Sequence[object], names: Sequence[str]) -> None:
        self._images, self._names = list(images), list(names)

    def __len__(self) -> int:
        return len(self._images)

    @overload
    def __getitem__(self, index: int) -> object: ...

    @overload
    def __getitem__(self, index: slice) -> NamedImages: ...

    def __getitem__(self, index: int | slice) -> object:
        if isinstance(index, slice):
            return NamedImages(self._images[index], self._names[index])
        return self._images[index]

    def __add__(self, other: NamedImages) -> NamedImages:
        return NamedImages(self._images + other._images, self._names + other._names)

    def take(self, rows: Sequence[int]) -> NamedImages:
        """Return the images at ``rows``, in that order."""
        return NamedImages([self._images[row] for row in rows], [self._names[row] for row in rows])

    def loaded(self) -> NamedImages:
        """Return the same images as bytes where they are files that can be read, for a machine that does not have them."""
        return NamedImages([_content(image) for image in self._images], self._names)

    def name(self, index: int) -> str:
        """Return what an image is called."""
        return self._names[index]


def _content(image: object) -> object:
    if not isinstance(image, str):
        return image
    try:
        return Path(image).read_bytes()
    except OSError:
        return image  # told by its name when it is decoded
