"""Another view of each image at every step: moved, mirrored, mixed with another one.

A network sees no image twice, and so learns few by heart. What a mixed image shows, no label says: the teacher does (Beyer et al. 2022,
"Knowledge distillation: a good teacher is patient and consistent", arXiv 2106.05237: teacher and student see the same views).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator
from torch import Tensor

from imbik.errors import UserError
from imbik.images.settings import PIXELS


@dataclass(frozen=True)
class Views:
    """How images are changed.

    Attributes:
        crop: share of a side by which an image is moved at most, each way; its border is mirrored.
        flip: whether half of the images are mirrored from left to right. A mirrored digit or letter is another one, or none.
        mix: share of the batches whose images are each mixed with another one of the batch (mixup, Zhang et al. 2018, arXiv 1710.09412):
            λ x + (1 - λ) x', λ uniform. Only a teacher can label them.
    """

    crop: float = 0.125
    flip: bool = True
    mix: float = 0.5


LABELLED = Views(mix=0.0)
"""Views that an image's own label is right for."""


def _settings(value: Literal["auto"] | bool | Mapping[str, Any]) -> Literal["auto"] | bool | dict[str, Any]:
    """What a recipe says under ``views``, every setting written out."""
    if value in ("auto", False):
        return value  # type: ignore[return-value]
    given = {} if value is True else dict(value)  # type: ignore[arg-type]
    unknown = set(given) - set(Views.__dataclass_fields__)
    if unknown:
        raise ValueError(f"one of {', '.join(Views.__dataclass_fields__)}; not {', '.join(sorted(unknown))}")
    whole = asdict(Views()) | given
    for name, most in (("crop", 0.5), ("mix", 1.0)):
        number = whole[name]
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number <= most:
            raise ValueError(f"{name}: 0 to {most:g}; not {number!r}")
    if not isinstance(whole["flip"], bool):
        raise ValueError(f"flip: true or false; not {whole['flip']!r}")
    return whole


ViewsField = Annotated[Literal["auto"] | bool | dict[str, Any], AfterValidator(_settings)]
"""The field of a method: ``auto`` (all of them for images, none for texts), ``false``, or a mapping of :class:`Views`' settings."""


def views_of(field: Literal["auto"] | bool | dict[str, Any], *, images: bool) -> Views | None:
    """Return the views that a field asks for; None: images stay as they are."""
    if field == "auto":
        return Views() if images else None
    return Views(**field) if isinstance(field, dict) else None


def parse_views(given: str | None, where: str = "--views") -> Views | None:
    """Return the views that a user names for training on labels: ``crop``, ``flip``, both behind a comma, or ``none``.

    Args:
        given: the names; None: both.
        where: what messages call them.

    Raises:
        UserError: another name.
    """
    if given is None:
        return LABELLED
    names = {name.strip() for name in given.split(",")}
    if not names <= {"crop", "flip", "none"} or ("none" in names and len(names) > 1):
        raise UserError("unknown views", where=where, found=given, expected="crop, flip, crop,flip or none")
    return None if names == {"none"} else Views(LABELLED.crop if "crop" in names else 0.0, "flip" in names, 0.0)


def seen(batch: Mapping[str, Tensor], views: Views) -> dict[str, Tensor]:
    """Return a batch with other views of its images, drawn from torch's own random numbers."""
    return {**batch, PIXELS: viewed(batch[PIXELS], views)}


def viewed(pixels: Tensor, views: Views) -> Tensor:
    """Return another view of each of some images, ``(B, C, H, W)``."""
    if views.crop:
        pixels = _moved(pixels, views.crop)
    if views.flip:
        mirrored = torch.rand(len(pixels)) < 0.5
        pixels = torch.where(mirrored.to(pixels.device)[:, None, None, None], pixels.flip(-1), pixels)
    if views.mix and float(torch.rand(())) < views.mix:
        share, others = float(torch.rand(())), torch.randperm(len(pixels)).to(pixels.device)
        pixels = share * pixels + (1 - share) * pixels[others]
    return pixels


def _moved(pixels: Tensor, most: float) -> Tensor:
    """Return images moved by up to ``most`` of their sides, each by its own draw."""
    count, _, height, width = pixels.shape
    # one draw for both would move along the diagonal alone
    rows, columns = (_places(count, side, most).to(pixels.device) for side in (height, width))
    # (B, C, H, W) -> rows of each image, then columns of each
    pixels = pixels.gather(2, rows[:, None, :, None].expand(-1, pixels.shape[1], -1, width))
    return pixels.gather(3, columns[:, None, None, :].expand(-1, pixels.shape[1], height, -1))


def _places(count: int, side: int, most: float) -> Tensor:
    """Return where the pixels along a side come from, ``(B, side)``, mirrored at the border."""
    reach = round(most * side)
    moved = torch.arange(side)[None, :] + torch.randint(-reach, reach + 1, (count, 1))
    # -1 is the second pixel, as in NumPy's reflection
    moved = moved.abs()
    return torch.where(moved >= side, 2 * (side - 1) - moved, moved).clamp(0, side - 1)
