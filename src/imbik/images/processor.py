"""An image as a network reads it: resized, cut, rescaled and normalized as the model's ``preprocessor_config.json`` says.

The same arithmetic as transformers' image processors with Pillow; PyTorch is not needed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imbik.errors import UserError
from imbik.images.decode import Pixels, decode
from imbik.images.settings import KINDS, PLAIN, PROCESSOR_FILE, check, default_size, result_of, sides

_CELL = 1024  # pixels that count as one token
_LEAST = 8  # tokens of an image, at least


@dataclass(frozen=True)
class ImageProcessor:
    """How images become ``pixel_values``. It stands where a text model has its tokenizer.

    Attributes:
        height, width: of what the network reads.
        channels: 3, or 1 for gray levels.
        settings: of the model's file, every one written out.
    """

    height: int
    width: int
    channels: int
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, given: Mapping[str, Any], where: object = PROCESSOR_FILE) -> ImageProcessor:
        """Return the processor that a file describes.

        Args:
            given: content of ``preprocessor_config.json``.
            where: what messages call it.

        Raises:
            UserError: a kind of processor that is not known, settings that make no sense, or that leave images of different sizes.
        """
        named = [given[name] for name in ("image_processor_type", "feature_extractor_type") if name in given]
        kind = str(next(filter(None, named), "ViTImageProcessor"))
        kind = kind.replace("FeatureExtractor", "ImageProcessor").removesuffix("Fast").removesuffix("Pil")
        if kind not in KINDS:
            known = ", ".join(sorted(KINDS))
            raise UserError("a kind of image processor that imbik does not know", where=where, found=kind, expected=known)
        settings = {"image_processor_type": kind, **PLAIN, **KINDS[kind]}
        settings |= {name: value for name, value in given.items() if name in settings and value is not None}
        check(settings, given, where)
        for name in ("size", "crop_size"):
            settings[name] = sides(settings[name], "shortest_edge" if name == "size" and "shortest_edge" in default_size(kind) else None)
        height, width = result_of(settings, where)
        return cls(height, width, len(settings["image_mean"]), settings)

    @classmethod
    def plain(cls, height: int, width: int, channels: int = 3) -> ImageProcessor:
        """Return the processor of a model that has none: resized to its size, levels from -1 to 1."""
        half = [0.5] * channels
        return cls.of({"size": {"height": height, "width": width}, "image_mean": half, "image_std": half})

    @classmethod
    def read(cls, path: Path) -> ImageProcessor:
        """Read a file.

        Raises:
            UserError: it is not there, no JSON, or as :meth:`of`.
        """
        try:
            given = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(given, dict):
                raise ValueError("no JSON object")
        except (OSError, ValueError, RecursionError) as error:
            raise UserError("the image processor's settings cannot be read", where=path, found=str(error)[:160]) from None
        return cls.of(given, path)

    @property
    def model_max_length(self) -> int:
        """What an image counts in budgets of tokens: one for each 32 × 32 pixels that the network reads, eight at least."""
        return max(_LEAST, math.ceil(self.height * self.width / _CELL))

    def save_pretrained(self, directory: str | Path) -> None:
        """Write ``preprocessor_config.json``, which transformers reads too."""
        (Path(directory) / PROCESSOR_FILE).write_text(self.to_str() + "\n", encoding="utf-8")

    def to_str(self) -> str:
        """Return the settings as JSON."""
        return json.dumps(dict(self.settings), indent=1, sort_keys=True)

    def pixels(self, image: object, where: object = None) -> Pixels:
        """Return an image as the network's size asks, still in gray levels: ``(H, W, C)``.

        Args:
            image: see :func:`imbik.images.decode.decode`.
            where: what messages call it.

        Raises:
            UserError: as :func:`imbik.images.decode.decode`.
        """
        levels = decode(image, self.channels, where).pixels
        if self.settings["do_resize"]:
            levels = self._resized(levels)
        if self.settings["do_center_crop"]:
            levels = center(levels, self.settings["crop_size"]["height"], self.settings["crop_size"]["width"])
        if levels.shape[:2] != (self.height, self.width):
            raise UserError(
                "the image has another size than the model reads",
                where=where,
                found=f"{levels.shape[1]} x {levels.shape[0]} pixels",
                expected=f"{self.width} x {self.height}, as the model's processor does not resize",
                fix=f'set "do_resize": true in {PROCESSOR_FILE}, or resize the images',
            )
        return levels

    def values(self, levels: Pixels) -> NDArray[np.float32]:
        """Return gray levels ``(…, H, W, C)`` as the network reads them, ``(…, C, H, W)``."""
        scale, shift = self.affine()
        # in the order that it ends in: along three channels NumPy multiplies three times slower than along a row
        moved = np.empty((*levels.shape[:-3], self.channels, *levels.shape[-3:-1]), np.float32)
        moved[...] = np.moveaxis(levels, -1, -3)
        # in place: of all that a request makes, a batch of pixels is the largest
        moved *= scale[:, None, None]
        moved += shift[:, None, None]
        return moved

    def batch(self, images: Sequence[object], where: Sequence[object] | None = None) -> NDArray[np.float32]:
        """Return ``pixel_values`` of some images, ``(B, C, H, W)``."""
        levels = [self.pixels(image, None if where is None else where[row]) for row, image in enumerate(images)]
        stacked = np.stack(levels) if levels else np.zeros((0, self.height, self.width, self.channels), np.uint8)
        return self.values(stacked)

    def affine(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return scale and shift, ``(C,)`` each, that rescaling and normalizing come to: value = level · scale + shift."""
        settings = self.settings
        # in float64: two roundings to float32 would be one too many
        scale, shift = np.ones(self.channels), np.zeros(self.channels)
        if settings["do_rescale"]:
            scale *= settings["rescale_factor"]
            shift -= 1.0 if _on(settings, "rescale_offset") else 0.0
        deviation = np.asarray(settings["image_std"], np.float64)
        if settings["do_normalize"]:
            scale, shift = scale / deviation, (shift - np.asarray(settings["image_mean"], np.float64)) / deviation
        if _on(settings, "include_top"):  # EfficientNet's processor divides once more
            scale, shift = scale / deviation, shift / deviation
        return scale.astype(np.float32), shift.astype(np.float32)

    def _resized(self, levels: Pixels) -> Pixels:
        size, resample = self.settings["size"], int(self.settings["resample"])
        if "height" in size:
            return resized(levels, size["height"], size["width"], resample)
        edge = size["shortest_edge"]
        if "crop_pct" not in self.settings:
            return resized(levels, *_by_shortest(levels, edge), resample)
        if edge >= 384:
            return resized(levels, edge, edge, resample)
        return center(resized(levels, *_by_shortest(levels, int(edge / self.settings["crop_pct"])), resample), edge, edge)


def _on(settings: Mapping[str, Any], name: str) -> bool:
    """Return whether a setting that few kinds have is switched on."""
    return name in settings and bool(settings[name])


def resized(levels: Pixels, height: int, width: int, resample: int) -> Pixels:
    """Return gray levels ``(H, W, C)`` in another size, by one of Pillow's filters (2 bilinear, 3 bicubic)."""
    if levels.shape[:2] == (height, width):
        return levels
    from PIL import Image

    image = Image.fromarray(levels if levels.shape[2] == 3 else levels[:, :, 0])
    found = np.asarray(image.resize((width, height), resample=Image.Resampling(resample)))
    return found if found.ndim == 3 else found[:, :, None]


def center(levels: Pixels, height: int, width: int) -> Pixels:
    """Return the middle of gray levels ``(H, W, C)``, zeros around it where it is smaller.

    >>> center(np.ones((1, 4, 1), np.uint8), 3, 2)[:, :, 0].tolist()
    [[0, 0], [1, 1], [0, 0]]
    """
    tall, wide = levels.shape[:2]
    high, broad = max(height, tall), max(width, wide)
    if (high, broad) != (tall, wide):
        # rounded up, as transformers places it
        above, left = -(-(high - tall) // 2), -(-(broad - wide) // 2)
        whole = np.zeros((high, broad, levels.shape[2]), np.uint8)
        whole[above : above + tall, left : left + wide] = levels
    else:
        above = left = 0
        whole = levels
    top, side = (tall - height) // 2 + above, (wide - width) // 2 + left
    return whole[max(0, top) : top + height, max(0, side) : side + width]


def _by_shortest(levels: Pixels, edge: int) -> tuple[int, int]:
    """Return height and width in which the shorter side has ``edge`` pixels."""
    tall, wide = levels.shape[:2]
    # rounded down, as transformers and torchvision do
    long = int(edge * max(tall, wide) / min(tall, wide))
    return (long, edge) if wide <= tall else (edge, long)
