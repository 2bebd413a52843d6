"""The networks of the images' benchmarks: folders with a config and no weights, which ``imbik finetune --base`` begins with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import ResNetConfig, ViTConfig

from imbik.images.processor import ImageProcessor

TASK = "image-classification"
SIDE = 64
"""Pixels of a side that the networks read. A ResNet's first two layers make each side a quarter, of 32 pixels too little."""
CHANNELS = (64, 128, 256)
BLOCKS = 2
"""Of each stage of the teacher."""
VIT: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 4,
    "hidden_size": 128,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "intermediate_size": 256,
}


def write_network(folder: Path, width: float = 1.0, blocks: int = BLOCKS) -> Path:
    """Write the config of a ResNet of basic blocks, and how images are prepared for it.

    Args:
        folder: is made.
        width: share of the teacher's channels.
        blocks: of each stage.
    """
    sizes = [int(width * size) for size in CHANNELS]
    config = ResNetConfig(embedding_size=sizes[0] // 2, hidden_sizes=sizes, depths=[blocks] * len(sizes), layer_type="basic")
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    ImageProcessor.plain(SIDE, SIDE).save_pretrained(folder)
    return folder


def write_vit(folder: Path) -> Path:
    """Write the config of a small vision Transformer, ``VIT``, for images of 32 × 32 pixels as they are.

    Args:
        folder: is made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ViTConfig(**VIT).save_pretrained(folder)
    ImageProcessor.plain(VIT["image_size"], VIT["image_size"]).save_pretrained(folder)
    return folder


def distilled(epochs: int, rate: float) -> dict[str, Any]:
    """Return the step that trains a student by its teacher; rows, views (but mixing) and decay are those of training on labels."""
    return {"distill": {"epochs": epochs, "learning_rate": rate, "weight_decay": 0.05}}
