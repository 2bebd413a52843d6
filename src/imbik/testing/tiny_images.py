"""Image classifiers of a few thousand weights, for tests: random, and made in a moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from imbik.images.processor import ImageProcessor
from imbik.models.checkpoint import set_labels
from imbik.models.inputs import set_image_shape
from imbik.models.pretrained import empty_model
from imbik.tasks.classification import IMAGE_CLASSIFICATION
from imbik.types import Checkpoint

_ENCODER = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "patch_size": 4}
IMAGE_FAMILIES: Mapping[str, Mapping[str, Any]] = {
    "vit": {**_ENCODER, "num_hidden_layers": 2},
    "deit": {**_ENCODER, "num_hidden_layers": 2},
    "resnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [2, 2], "layer_type": "basic"},
    "convnext": {"num_stages": 2, "hidden_sizes": [8, 16], "depths": [1, 1], "patch_size": 2},
    "mobilenet_v2": {"depth_multiplier": 0.35, "depth_divisible_by": 4, "min_depth": 4},
    "efficientnet": {
        "width_coefficient": 0.25,
        "depth_coefficient": 0.5,
        "depth_divisor": 4,
        "kernel_sizes": [3, 3],
        "in_channels": [32, 16],
        "out_channels": [16, 24],
        "depthwise_padding": [],
        "strides": [1, 2],
        "num_block_repeats": [1, 1],
        "expand_ratios": [1, 2],
        "hidden_dim": 320,
        "num_hidden_layers": 4,
    },
}
"""Architectures of transformers, with numbers that make them tiny."""

_KINDS = {
    **dict.fromkeys(IMAGE_FAMILIES, "ViTImageProcessor"),
    "deit": "DeiTImageProcessor",
    "convnext": "ConvNextImageProcessor",
    "resnet": "ConvNextImageProcessor",
}


def image_config(family: str, labels: Sequence[str], side: int = 16, **numbers: Any) -> Any:
    """Return the config of a tiny classifier of images.

    Args:
        family: one of :data:`IMAGE_FAMILIES`.
        labels: of its classes.
        side: pixels of the square that it reads.
        numbers: of the config, in the place of ours.
    """
    config = AutoConfig.for_model(family, **{"image_size": side, **IMAGE_FAMILIES[family], **numbers})
    set_labels(config, IMAGE_CLASSIFICATION, tuple(labels))
    config.architectures = []
    return config


def tiny_processor(side: int = 16, family: str = "vit", channels: int = 3) -> ImageProcessor:
    """Return a processor whose arithmetic is that of the family's models on the hub, at a small size."""
    kind = _KINDS[family]
    size = {"shortest_edge": side} if kind == "ConvNextImageProcessor" else {"height": side, "width": side}
    half = [0.5] * channels
    given = {"size": size, "crop_size": {"height": side, "width": side}, "image_mean": half, "image_std": half}
    return ImageProcessor.of({"image_processor_type": kind, **given})


def tiny_image_model(
    family: str = "vit", labels: Sequence[str] = ("a", "b", "c"), side: int = 16, seed: int = 0, **numbers: Any
) -> Checkpoint:
    """Return a tiny classifier of images with random weights.

    >>> tiny_image_model("resnet").model(pixel_values=torch.zeros(2, 3, 16, 16)).logits.shape
    torch.Size([2, 3])
    """
    torch.manual_seed(seed)
    model = empty_model(image_config(family, labels, side, **numbers), IMAGE_CLASSIFICATION)
    processor = tiny_processor(side, family, int({"num_channels": 3, **numbers}["num_channels"]))
    _observe(model.train(), side)
    set_image_shape(model, processor)
    return Checkpoint(model.eval(), processor, IMAGE_CLASSIFICATION)


@torch.no_grad()
def _observe(model: Any, side: int) -> None:
    """Let batch norms see some images, behind convolutions of He's size: some architectures begin so small that all outputs were zero."""
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    if norms:
        model(pixel_values=torch.randn(32, 3, side, side))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def config_folder(folder: Path, family: str = "vit", labels: Sequence[str] = ("a", "b", "c"), side: int = 16, **numbers: Any) -> Path:
    """Write a folder with a config and a processor and no weights: what ``imbik finetune`` can start from at random."""
    folder.mkdir(parents=True, exist_ok=True)
    image_config(family, labels, side, **numbers).save_pretrained(folder)
    tiny_processor(side, family).save_pretrained(folder)
    return folder
