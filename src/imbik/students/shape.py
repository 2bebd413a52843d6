"""The shape of an encoder: its numbers, the shapes that have names, and what a teacher allows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imbik.errors import UserError
from imbik.models.teacher import Teacher
from imbik.tasks.outputs import IMAGES
from imbik.tasks.registry import task_of

if TYPE_CHECKING:
    from transformers import PretrainedConfig


@dataclass(frozen=True)
class Shape:
    """Numbers of an encoder."""

    layers: int
    hidden: int
    heads: int
    intermediate: int


CATALOGUE: dict[str, Shape] = {
    # the two students that TinyBERT's authors published
    "tinybert-4l-312": Shape(4, 312, 12, 1200),
    "tinybert-6l-768": Shape(6, 768, 12, 3072),
}
"""Shapes by name."""

MINI = "mini-LxH"
"""How the names of shapes with heads of 32 and BERT's proportions are written: L layers of H numbers."""

MINI_HEAD, MINI_STEP = 32, 64
"""Numbers of a head of such a shape, and what its width is a multiple of: what processors multiply fastest."""


def named_shape(name: str) -> Shape | None:
    """Return the shape that a name stands for, None where it is no name of a shape.

    Raises:
        UserError: a width that such shapes cannot have.

    >>> named_shape("mini-2x192")
    Shape(layers=2, hidden=192, heads=6, intermediate=768)
    """
    match = re.fullmatch(r"mini-(\d+)x(\d+)", name)
    if match is None:
        return CATALOGUE.get(name)
    layers, hidden = int(match[1]), int(match[2])
    if not hidden or hidden % MINI_STEP:
        raise UserError("a width that this shape cannot have", where="student", found=name, expected=f"{MINI}, H a multiple of {MINI_STEP}")
    return Shape(layers, hidden, hidden // MINI_HEAD, 4 * hidden)


def shape_of(teacher: Teacher, layers: int) -> Shape:
    """Return the teacher's own numbers with another depth."""
    config = teacher.model.config
    return Shape(layers, int(config.hidden_size), int(config.num_attention_heads), intermediate_of(config))


def intermediate_of(config: PretrainedConfig) -> int:
    """Return the width of the feed-forward networks."""
    # DistilBERT calls it hidden_dim
    return int(getattr(config, "intermediate_size", None) or config.hidden_dim)


def check_attention(task: str, config: Any) -> None:
    """Check that a teacher has the layers of a Transformer, which can be left out one by one.

    Args:
        task: the teacher's.
        config: its model's.

    Raises:
        UserError: it is made of stages of blocks.
    """
    if task_of(task).reads == IMAGES and not hasattr(config, "num_attention_heads"):
        raise UserError(
            "the teacher has no stack of like layers",
            where="student",
            found=str(config.model_type),
            expected="a Transformer such as ViT",
            fix="choose blocks-N for a network of stages, such as ResNet",
        )


def check_depth(layers: int, depth: int, what: str) -> int:
    """Return ``layers`` where a student of a teacher can have as many.

    Args:
        layers: the student's.
        depth: the teacher's layers.
        what: the problem, for the message.

    Raises:
        UserError: none, or more than the teacher has.
    """
    if not 1 <= layers <= depth:
        raise UserError(what, where="student", found=layers, expected=f"1 to {depth}")
    return layers


def check_shape(shape: Shape, depth: int) -> Shape:
    """Return ``shape`` where a student of a teacher of so many layers can have it.

    Raises:
        UserError: heads that do not divide the width, or more layers than the teacher has.
    """
    if shape.hidden % shape.heads:
        raise UserError(
            "the heads do not divide the width",
            where="student",
            found=f"hidden {shape.hidden}, heads {shape.heads}",
            expected="hidden a multiple of heads",
        )
    check_depth(shape.layers, depth, "a student has at least one layer and no more layers than its teacher")
    return shape
