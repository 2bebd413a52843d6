"""Bytes, files, arrays and Pillow's images become arrays of 8-bit gray levels, however they were stored."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from imbik.errors import MissingExtra, UserError, shorten

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels: TypeAlias = NDArray[np.uint8]
"""Gray levels, ``(H, W, C)``, C 3 (red, green, blue) or 1."""

MOST_PIXELS = 100_000_000
"""Pixels of an image, above which it is refused before it is decoded: 300 MB as an array."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
"""Names of files that are taken for images."""

# of Pillow's fifty formats these; the others are rare in data sets, and some call other programs (EPS calls Ghostscript)
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "MPO")
_DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I")
_ORIENTATION = 0x0112  # EXIF's tag for how the camera was held


class TooLarge(UserError):
    """An image of more pixels than are decoded."""


class Decoded(NamedTuple):
    """An image as an array.

    Attributes:
        pixels: gray levels.
        changes: what was done to bring it into that form, words of :data:`CHANGES`.
    """

    pixels: Pixels
    changes: tuple[str, ...]


CHANGES = ("cmyk", "palette", "deep", "gray", "alpha", "frames", "rotated")
"""What may have to be done: four printing colors or a palette turned into three colors, 16 bits into 8, one channel into three (or three
into one), transparency left out, the first frame of several taken, turned as the camera was held."""


def decode(source: object, channels: int = 3, where: object = None) -> Decoded:
    """Return the gray levels of an image.

    Args:
        source: the bytes of a file, a path, an array ``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)`` or ``(H, W, 4)`` of 8-bit gray levels, or
            a Pillow image.
        channels: 3 or 1.
        where: what messages call it; None: its path.

    Raises:
        MissingExtra: without Pillow.
        UserError: no such file, no image, a damaged one, one of too many pixels, an array of another kind.

    >>> decode(np.full((2, 2), 7, np.uint8)).pixels.shape
    (2, 2, 3)
    """
    if isinstance(source, np.ndarray):
        return _converted(_of_array(source, where), channels)
    pillow = _pillow()
    if isinstance(source, pillow.Image):
        with _told(where):
            return _converted(source, channels)
    if isinstance(source, (str, os.PathLike)):
        path = Path(source).expanduser()
        where = path if where is None else where
        source = _read(path, where)
    if not isinstance(source, (bytes, bytearray, memoryview)):
        expected = "a path, the bytes of a file, an array (H, W, 3) of 8-bit gray levels, or a Pillow image"
        raise UserError("not an image", where=where, found=type(source).__name__, expected=expected)
    return _of_bytes(bytes(source), channels, where)


def check_header(data: bytes, where: object = None) -> None:
    """Refuse bytes that are no image, or one of too many pixels, by the header alone: nothing is decoded.

    Raises:
        MissingExtra: without Pillow.
        TooLarge: too many pixels.
        UserError: no image.
    """
    with _opened(data, where):
        pass


def _pillow() -> Any:
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise MissingExtra("PIL") from error
    return Image


def _read(path: Path, where: object) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        fix = "check the path" if not path.exists() else None
        raise UserError("the image cannot be read", where=where, found=error.strerror or str(error), fix=fix) from None


@contextmanager
def _told(where: object) -> Iterator[None]:
    """Turn whatever goes wrong inside a decoder into one message: each format has errors of its own, down to those of C libraries."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        found = shorten(f"{type(error).__name__}: {error}", 120)
        raise UserError("the image is broken", where=where, found=found, fix="replace it") from None


@contextmanager
def _opened(data: bytes, where: object) -> Iterator[Image]:
    """Open an image whose header is right and whose size is bearable."""
    pillow = _pillow()
    import warnings

    try:
        # Pillow warns of large images, which are refused below
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = pillow.open(io.BytesIO(data), formats=_FORMATS)
    except Exception as error:
        too_large = isinstance(error, pillow.DecompressionBombError)
        if too_large:
            raise _too_large(str(error), where) from None
        found = "no bytes" if not data else f"{len(data):,} bytes that begin with {data[:8]!r}"
        expected = "an image: JPEG, PNG, WebP, BMP, GIF, TIFF or PPM"
        raise UserError("not an image", where=where, found=found, expected=expected) from None
    with image:
        if image.width * image.height > MOST_PIXELS:
            raise _too_large(f"{image.width:,} x {image.height:,} pixels", where)
        yield image


def _too_large(found: str, where: object) -> TooLarge:
    fix = "make it smaller first; networks read a few hundred pixels a side"
    return TooLarge("the image is too large", where=where, found=found, expected=f"at most {MOST_PIXELS:,} pixels", fix=fix)


def _of_bytes(data: bytes, channels: int, where: object) -> Decoded:
    with _opened(data, where) as image, _told(where):
        changes = ["frames"] if getattr(image, "n_frames", 1) > 1 else []
        image.load()
        turned: Any = image
        exif = image.getexif()
        if _ORIENTATION in exif and exif[_ORIENTATION] not in (0, 1):
            from PIL import ImageOps

            turned = ImageOps.exif_transpose(image)
            changes.append("rotated")
        found = _converted(turned, channels)
        return Decoded(found.pixels, tuple(sorted({*changes, *found.changes}, key=CHANGES.index)))


def _converted(image: Image, channels: int) -> Decoded:
    """Return an image's gray levels in so many channels, with what that took."""
    mode, changes = image.mode, []
    if mode in _DEEP:
        # the upper 8 of 16 bits; Pillow itself would cut off all above 255
        deep = np.asarray(image).astype(np.int64) >> 8
        image = _pillow().fromarray(np.clip(deep, 0, 255).astype(np.uint8))
        changes += ["deep"]
    elif mode == "F":
        raise UserError("an image of floating-point numbers", found="mode F", expected="8 or 16 bits a channel", fix="save it in 8 bits")
    elif mode in ("CMYK", "P", "PA"):
        changes += ["cmyk" if mode == "CMYK" else "palette"]
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or (mode == "P" and "transparency" in image.info):
        changes += ["alpha"]
        # through RGBA: Pillow warns of palettes whose transparency would be lost
        image = image.convert("RGBA") if mode in ("P", "PA") else image
    wanted = "RGB" if channels == 3 else "L"
    if (image.mode in ("1", "L", "LA", "La")) != (channels == 1):
        changes += ["gray"] if not {"cmyk", "palette"} & set(changes) or channels == 1 else []
    levels = np.array(image.convert(wanted), np.uint8)
    return Decoded(levels if channels == 3 else levels[:, :, None], tuple(changes))


def _of_array(array: NDArray[Any], where: object) -> Image:
    """Return an array as a Pillow image."""
    fits = array.dtype == np.uint8 and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))) and array.size
    if not fits:
        raise UserError(
            "not an image",
            where=where,
            found=f"an array {array.shape} of {array.dtype}",
            expected="(H, W) or (H, W, 3) of uint8, gray levels from 0 to 255",
        )
    # Pillow knows no images of one channel with three dimensions
    image: Image = _pillow().fromarray(array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array)
    return image
