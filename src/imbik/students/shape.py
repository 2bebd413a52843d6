"""The shape of a student, read from a recipe and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imbik.errors import UserError
from imbik.models.anatomy import depth_of
from imbik.types import Checkpoint


@dataclass(frozen=True)
class Shape:
    """Numbers of an encoder."""

    layers: int
    hidden: int
    heads: int
    intermediate: int


def _init(spec: Mapping[str, Any]) -> str:
    init = spec.get("init", "teacher")
    if init not in ("teacher", "random"):
        raise UserError("unknown start", where="student.init", found=init, expected="teacher or random")
    return str(init)


def _count(spec: Mapping[str, Any], name: str, default: int | None) -> int | None:
    value = spec.get(name, default)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise UserError("must be a whole number above zero", where=f"student.{name}", found=value)
    return value


def _checked(shape: Shape, teacher: Checkpoint) -> Shape:
    depth = depth_of(teacher.model)
    if shape.hidden % shape.heads:
        raise UserError(
            "the heads do not divide the width",
            where="student",
            found=f"hidden {shape.hidden}, heads {shape.heads}",
            expected="hidden a multiple of heads",
        )
    if not 1 <= shape.layers <= depth:
        raise UserError(
            "a student has at least one layer and no more layers than its teacher",
            where="student",
            found=shape.layers,
            expected=f"1 to {depth}",
        )
    return shape


def _shape_of(teacher: Checkpoint, layers: int) -> Shape:
    """The teacher's own numbers with another depth."""
    config = teacher.model.config
    return Shape(layers, int(config.hidden_size), int(config.num_attention_heads), _intermediate(config))


def _intermediate(config: Any) -> int:
    return int(getattr(config, "intermediate_size", None) or config.hidden_dim)
