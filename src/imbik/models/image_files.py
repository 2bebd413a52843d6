"""The image processor of a model's folder, whether the model reads what it gives, and models that start from a config alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from imbik.errors import UserError, first_line
from imbik.images.processor import ImageProcessor
from imbik.images.settings import PIXELS, PROCESSOR_FILE
from imbik.jobs.quiet import quiet_transformers
from imbik.models.hooks import evaluating
from imbik.models.inputs import set_image_shape

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pkl", ".ckpt", ".h5", ".msgpack")
_SHOWN = ((40, 56), (61, 37))  # heights and widths of the images on which two processors are compared


def has_no_weights(path: str) -> bool:
    """Return whether a folder holds no weights: its model can start at random alone."""
    folder = Path(path)
    return folder.is_dir() and not any(file.suffix in _WEIGHTS for file in folder.iterdir())


def load_processor(path: str, model: PreTrainedModel, role: str, *, needed: bool) -> ImageProcessor:
    """Load the image processor of a folder or hub name, as the runtime will follow it.

    Args:
        path: folder or hub name.
        model: it is asked one image, to see that it reads what the processor gives.
        role: what messages call it.
        needed: whether the folder must have one; else a model that names its size gets the plain one.

    Raises:
        UserError: there is none, one that is not known or does something else than transformers' own, or a model that reads another size.
    """
    given, own = _own(path)
    if given is None:
        size = getattr(model.config, "image_size", None)
        if needed or size is None:
            raise _nothing(path, role, size)
        height, width = (size, size) if isinstance(size, int) else tuple(size)
        processor = ImageProcessor.plain(height, width, int(getattr(model.config, "num_channels", 3)))
    else:
        processor = ImageProcessor.of(given, f"{path}, {PROCESSOR_FILE}")
    if own is not None:
        _check_alike(processor, own, path)
    _check_size(model, processor, path, role)
    set_image_shape(model, processor)
    return processor


def _own(path: str) -> tuple[Mapping[str, Any] | None, Any]:
    """Return the settings that a folder or hub name has, and transformers' processor of them; None for what there is not."""
    from transformers import AutoImageProcessor

    file = Path(path) / PROCESSOR_FILE
    if Path(path).is_dir():
        if not file.is_file():
            return None, None
        given = ImageProcessor.read(file).settings  # refuses what is damaged
        given = {**json.loads(file.read_text(encoding="utf-8"))}
        named = "image_processor_type" in given or "feature_extractor_type" in given
        try:
            with quiet_transformers():
                return given, AutoImageProcessor.from_pretrained(path) if named else None
        except Exception:  # one that this transformers no longer has, or cannot make without torchvision: ours stands for itself
            return given, None
    try:
        with quiet_transformers():
            own = AutoImageProcessor.from_pretrained(path)
    except Exception:
        return None, None
    return own.to_dict(), own


def _nothing(path: str, role: str, size: object) -> UserError:
    example = json.dumps({"image_processor_type": "ViTImageProcessor", "size": {"height": size or 224, "width": size or 224}})
    return UserError(
        f"the {role} does not say how images are prepared for it",
        where=path,
        found=f"no {PROCESSOR_FILE}",
        expected="a folder of an image classifier with its processor",
        fix=f"save the processor there with processor.save_pretrained(folder), or write {PROCESSOR_FILE}: {example}",
    )


def _check_alike(processor: ImageProcessor, own: Callable[..., Any], path: str) -> None:
    """Refuse a processor that transformers follows in another way, by more than one gray level.

    Raises:
        UserError: with the difference.
    """
    random, scale = np.random.default_rng(0), processor.affine()[0]
    for height, width in _SHOWN if processor.settings["do_resize"] or processor.settings["do_center_crop"] else ():
        shape = (height, width, 3) if processor.channels == 3 else (height, width)
        image = random.integers(0, 256, shape).astype(np.uint8)
        theirs = np.asarray(own(image, return_tensors="np")[PIXELS][0], np.float64)
        ours = processor.batch([image])[0]
        gap = float(np.abs((ours - theirs) / scale[:, None, None]).max()) if ours.shape == theirs.shape else float("inf")
        # torchvision's resizing rounds otherwise than Pillow's, which is what the runtime has
        if gap > (1.01 if getattr(own, "backend", "pil") == "pil" else 8.0):
            raise UserError(
                "transformers prepares images otherwise than imbik's runtime would",
                where=f"{path}, {PROCESSOR_FILE}",
                found=f"up to {gap:.1f} gray levels apart, shapes {theirs.shape} and {ours.shape}",
                expected="1 gray level or less",
            )


@torch.no_grad()
def _check_size(model: PreTrainedModel, processor: ImageProcessor, path: str, role: str) -> None:
    """Refuse a model that cannot read an image of the processor's size, such as one with positions for another.

    Raises:
        UserError: with what the model says.
    """
    # one pass says what no config of an architecture says in a common way
    image = torch.zeros(1, processor.channels, processor.height, processor.width, device=next(model.parameters()).device)
    try:
        with evaluating(model):
            model(pixel_values=image)
    except Exception as error:
        raise UserError(
            f"the {role} cannot read images of the size that its processor gives",
            where=path,
            found=f"{processor.width} x {processor.height} pixels, {processor.channels} channels; {first_line(error)}",
            expected="the size that the model was made for (image_size in config.json); imbik does not stretch position tables",
            fix=f"correct size in {PROCESSOR_FILE}",
        ) from None
