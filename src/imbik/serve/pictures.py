"""Images over HTTP: the bytes of one as the body, or JSON with one or several in base64."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from imbik.errors import UserError
from imbik.images.decode import TooLarge, check_header
from imbik.images.named import NamedImages
from imbik.serve.refusals import Refusal, invalid
from imbik.serve.requests import Asked, check_count, read_as, read_predict
from imbik.serve.settings import Limits

OCTETS = "application/octet-stream"
_JSON = ("", "application/json", "application/x-www-form-urlencoded")  # the last is what curl says unless it is told otherwise
_EXPECTED = '"inputs": an image in base64, or a list of them'


class ImagesRequest(BaseModel):
    """An image in base64, or several; ``data:image/png;base64,`` may stand before it."""

    model_config = ConfigDict(strict=True, extra="ignore")

    inputs: str | Annotated[list[str], Field(min_length=1)]
    raw_scores: bool = False
    """Whether the model's own numbers are wanted, not probabilities."""
    top: int | None = Field(default=None, ge=1)
    """At most so many labels of each image; None: all."""


def is_image(kind: str | None) -> bool:
    """Return whether a ``Content-Type`` says that the body is an image itself.

    >>> is_image("image/png"), is_image("application/json; charset=utf-8")
    (True, False)
    """
    return _bare(kind).startswith("image/")


def read_rows(body: bytes, kind: str | None, limits: Limits, *, images: bool) -> Asked:
    """Return what a body of ``/predict`` asks of a model that reads images or texts.

    Raises:
        Refusal: as :func:`read_images` and :func:`imbik.serve.requests.read_predict`; 415 for an image where texts are read.
    """
    if images:
        return read_images(body, kind, limits)
    if is_image(kind):
        raise Refusal(415, "validation", "the model reads texts; send JSON")
    return read_predict(body, limits)


def read_images(body: bytes, kind: str | None, limits: Limits) -> Asked:
    """Return what a body of ``/predict`` asks of a model that reads images; no image is decoded, its header alone is looked at.

    Args:
        body: an image, or JSON.
        kind: its ``Content-Type``.
        limits: of the server.

    Raises:
        Refusal: 415 for another type; 400 for what is not JSON; 422 for another shape, what is no image, or too many; 413 for an image
            of more pixels than are decoded.
    """
    bare = _bare(kind)
    if bare == OCTETS or is_image(kind):
        return _asked([body], batch=False)
    if bare not in _JSON:
        message = f"the model reads images: send one as image/... or {OCTETS}, or JSON with base64"
        raise Refusal(415, "validation", message)
    request = read_as(ImagesRequest, body, "inputs", _EXPECTED)
    rows = [request.inputs] if isinstance(request.inputs, str) else request.inputs
    check_count(len(rows), limits, "images")
    images = [_unpacked(row, number) for number, row in enumerate(rows, 1)]
    return _asked(images, batch=isinstance(request.inputs, list), raw=request.raw_scores, top=request.top)


def _bare(kind: str | None) -> str:
    return (kind or "").partition(";")[0].strip().lower()


def _unpacked(row: str, number: int) -> bytes:
    """Return the bytes of an image in base64."""
    # a data URL says before the comma what the bytes are; Pillow looks itself
    packed = row.partition(",")[2] if row.startswith("data:") else row
    try:
        return base64.b64decode("".join(packed.split()), validate=True)
    except (binascii.Error, ValueError):
        raise invalid(f"image {number} is not base64; {_EXPECTED}") from None


def _asked(images: list[bytes], *, batch: bool, raw: bool = False, top: int | None = None) -> Asked:
    names = [f"image {number}" for number in range(1, len(images) + 1)]
    for image, name in zip(images, names, strict=True):
        try:
            check_header(image, name)
        except TooLarge as error:
            raise Refusal(413, "validation", str(error)) from None
        except UserError as error:
            raise invalid(str(error)) from None
    return Asked(names, None, batch, raw, top, whole=False, images=NamedImages(images, names))
