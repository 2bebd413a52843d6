"""Bytes to gray levels: how images are stored in the wild, and what is refused."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from imbik.errors import UserError
from imbik.images.decode import MOST_PIXELS, decode

RED = np.full((6, 4, 3), (200, 10, 30), np.uint8)
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8))


def stored(image: Image.Image, form: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, format=form, **options)
    return out.getvalue()


def test_paths_bytes_arrays_and_images_are_one(tmp_path):
    data = stored(Image.fromarray(RED))
    path = tmp_path / "red.png"
    path.write_bytes(data)
    for source in (data, path, str(path), RED, Image.fromarray(RED), memoryview(data)):
        found = decode(source)
        assert np.array_equal(found.pixels, RED) and found.changes == ()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
def test_the_formats_that_are_read(form):
    assert decode(stored(Image.fromarray(RED), form)).pixels.shape == (6, 4, 3)


def test_cmyk_becomes_three_colors_as_pillow_does_it():
    printed = Image.fromarray(RED).convert("CMYK")
    found = decode(stored(printed, "JPEG", quality=95))
    assert found.changes == ("cmyk",)
    assert np.abs(found.pixels.astype(int) - np.asarray(printed.convert("RGB"))).max() <= 8  # JPEG loses some


def test_a_palette_is_looked_up():
    found = decode(stored(Image.fromarray(RED).quantize(4)))
    assert found.changes == ("palette",) and np.abs(found.pixels.astype(int) - RED).max() <= 4


def test_a_transparent_palette_says_both():
    picture = Image.fromarray(RED).quantize(4)
    assert decode(stored(picture, transparency=0)).changes == ("palette", "alpha")


def test_sixteen_bits_keep_their_upper_eight():
    deep = np.array([[0, 255, 256, 65535]], np.uint16)
    found = decode(stored(Image.fromarray(deep)))
    assert found.pixels[0, :, 0].tolist() == [0, 0, 1, 255] and set(found.changes) == {"deep", "gray"}


def test_a_picture_is_turned_as_the_camera_was_held():
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    found = decode(stored(Image.fromarray(RED), "PNG", exif=exif))
    image = Image.fromarray(RED)
    image.getexif()[0x0112] = 6
    assert found.changes == ("rotated",) and found.pixels.shape == (4, 6, 3)
    assert np.array_equal(found.pixels, np.asarray(ImageOps.exif_transpose(image)))


def test_transparency_gray_levels_and_frames_are_said():
    assert decode(stored(Image.fromarray(RED).convert("RGBA"))).changes == ("alpha",)
    assert decode(stored(Image.fromarray(RED).convert("L"))).changes == ("gray",)
    frames = [Image.fromarray(RED), Image.fromarray(RED[::-1].copy())]
    assert "frames" in decode(stored(frames[0], "TIFF", save_all=True, append_images=frames[1:])).changes


def test_one_channel_is_asked_for():
    assert decode(stored(Image.fromarray(RED).convert("L")), channels=1) == (pytest.approx(decode(RED, channels=1).pixels), ())
    assert decode(RED, channels=1).changes == ("gray",)


def giant(side: int = 30_000) -> bytes:
    """A PNG whose header states so many pixels a side, and which holds one byte of them."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_a_giant_is_refused_by_its_header():
    with pytest.raises(UserError, match=r"big\.png: the image is too large") as told:
        decode(giant(), where="big.png")
    assert "30,000 x 30,000" in str(told.value) or "900000000" in str(told.value)
    just_too_large = int(MOST_PIXELS**0.5) + 1
    with pytest.raises(UserError, match="too large"):
        decode(giant(just_too_large))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not an image"),
        (b"GIF89a", "not an image|is broken"),
        (b"<svg></svg>", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),  # Pillow would call Ghostscript
        (stored(NOISE, "JPEG")[:-300], "is broken"),
        (stored(NOISE)[:900], "is broken"),
    ],
    ids=["empty", "cut GIF", "SVG", "EPS", "cut JPEG", "cut PNG"],
)
def test_what_is_no_image_is_named(data, problem):
    with pytest.raises(UserError, match=f"row 7: .*({problem})"):
        decode(data, where="row 7")


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4, 3)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros(4, np.uint8)]
)
def test_arrays_of_another_kind_are_refused(array):
    with pytest.raises(UserError, match="not an image"):
        decode(array)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"gone\.png: the image cannot be read"):
        decode(tmp_path / "gone.png")
    with pytest.raises(UserError, match=r"not an image\. Found: int"):
        decode(7)
