"""What ``preprocessor_config.json`` may say: kinds of processors, their defaults, and what makes no sense."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from imbik.errors import UserError

PROCESSOR_FILE = "preprocessor_config.json"
"""Where a model's folder says how images are prepared."""
PIXELS = "pixel_values"
"""What transformers, and artefacts with it, call the input of a model that reads images."""

_LARGEST = 4096  # a side of what a network reads
PLAIN: Mapping[str, Any] = {
    "do_resize": True,
    "size": {"height": 224, "width": 224},
    "resample": 2,
    "do_center_crop": False,
    "crop_size": {"height": 224, "width": 224},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}
KINDS: Mapping[str, Mapping[str, Any]] = {
    "ViTImageProcessor": {},
    "DeiTImageProcessor": {"size": {"height": 256, "width": 256}, "resample": 3, "do_center_crop": True},
    "ConvNextImageProcessor": {"size": {"shortest_edge": 384}, "resample": 3, "crop_pct": 224 / 256},
    "EfficientNetImageProcessor": {
        "size": {"height": 346, "width": 346},
        "crop_size": {"height": 289, "width": 289},
        "resample": 3,
        "rescale_offset": False,
        "include_top": True,
    },
    "MobileNetV1ImageProcessor": {"size": {"shortest_edge": 256}, "do_center_crop": True},
    "MobileNetV2ImageProcessor": {"size": {"shortest_edge": 256}, "do_center_crop": True},
    "BitImageProcessor": {
        "size": {"shortest_edge": 224},
        "resample": 3,
        "do_center_crop": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    },
}
"""Kinds of processors whose arithmetic is known, with what they do where the file is silent and :data:`PLAIN` differs."""


def default_size(kind: str) -> Mapping[str, Any]:
    """Return the size that a kind of processor has where the file is silent."""
    return {**PLAIN, **KINDS[kind]}["size"]  # type: ignore[no-any-return]


def sides(size: Any, edge: str | None) -> dict[str, int]:
    """Return a size as a mapping, which older files write as one number: both sides, or the shorter one where the kind says so."""
    if isinstance(size, int):
        return {edge: size} if edge else {"height": size, "width": size}
    return {name: int(value) for name, value in size.items() if value is not None}


def check(settings: Mapping[str, Any], given: Mapping[str, Any], where: object) -> None:
    """Refuse settings that are damaged, or that ask for what is not done here.

    Raises:
        UserError: naming the setting.
    """
    # as many as there are means: the file says it nowhere else
    channels = settings["image_mean"]
    fits = {
        **{name: isinstance(settings[name], bool) for name in ("do_resize", "do_center_crop", "do_rescale", "do_normalize")},
        "size": _is_size(settings["size"]),
        "crop_size": _is_size(settings["crop_size"]),
        "resample": settings["resample"] in (0, 1, 2, 3, 4, 5) and not isinstance(settings["resample"], bool),
        "rescale_factor": _is_number(settings["rescale_factor"]),
        "image_mean": isinstance(channels, list) and len(channels) in (1, 3) and all(map(_is_number, channels)),
        "image_std": isinstance(settings["image_std"], list)
        and all(_is_number(value) and value > 0 for value in settings["image_std"])
        and isinstance(channels, list)
        and len(settings["image_std"]) == len(channels),
        "crop_pct": "crop_pct" not in settings or (_is_number(settings["crop_pct"]) and 0 < settings["crop_pct"] <= 1),
    }
    for name, fit in fits.items():
        if not fit:
            raise UserError(f"the setting {name} makes no sense", where=where, found=repr(settings[name])[:80])
    for name in ("do_pad", "do_flip_channel_order", "do_reduce_labels"):
        if given.get(name):
            raise UserError("the image processor asks for what imbik does not do", where=where, found=f"{name}: true")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_size(value: object) -> bool:
    """Whether a size is one number, both sides, or the shortest edge."""
    sides = list(value.values()) if isinstance(value, dict) else [value]
    sides = [side for side in sides if side is not None]
    names = {name for name, side in value.items() if side is not None} if isinstance(value, dict) else {"height", "width"}
    known = names in ({"height", "width"}, {"shortest_edge"})
    return known and all(isinstance(side, int) and not isinstance(side, bool) and 1 <= side <= _LARGEST for side in sides)


def result_of(settings: Mapping[str, Any], where: object) -> tuple[int, int]:
    """Return height and width of what comes out.

    Raises:
        UserError: it depends on the image.
    """
    crop, size = settings["crop_size"], settings["size"]
    if settings["do_center_crop"] and "height" in crop:
        return crop["height"], crop["width"]
    if "height" in size:
        # without resizing, images must have this size already
        return size["height"], size["width"]
    if "crop_pct" in settings:
        return size["shortest_edge"], size["shortest_edge"]
    raise UserError(
        "the image processor leaves images of different sizes",
        where=where,
        found=f"size {size} without a crop",
        expected="a height and a width, or a center crop",
        fix='set "do_center_crop": true with a crop_size, or "size": {"height": …, "width": …}',
    )
