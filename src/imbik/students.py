"""The catalogue of student shapes, and how a student starts from its teacher.

Same width: the student takes the teacher's layers that lie evenly through its depth (uniform mapping, the last one included).
Smaller width: the teacher's hidden space is projected on its principal directions over the task's own texts (:mod:`imbik.projection`).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification

from imbik.checkpoint import labels_of, layer_stack, load_base, set_labels
from imbik.errors import UserError
from imbik.projection import project
from imbik.types import Checkpoint, Examples


@dataclass(frozen=True)
class Shape:
    """Numbers of an encoder. ``family`` is a transformers ``model_type``."""

    layers: int
    hidden: int
    heads: int
    intermediate: int
    family: str = "bert"


CATALOGUE: dict[str, Shape] = {
    "tinybert-4l-312": Shape(4, 312, 12, 1200),
    "tinybert-6l-768": Shape(6, 768, 12, 3072),
    "mini-4x256": Shape(4, 256, 8, 1024),
    "mini-3x256": Shape(3, 256, 8, 1024),
    "mini-2x192": Shape(2, 192, 6, 768),
    "mini-2x128": Shape(2, 128, 4, 512),
}
"""Shapes by name. The ``mini`` ones have heads of 32 and widths that are multiples of 64: what processors multiply fastest."""

_LAYER_KEYS = ("num_hidden_layers", "n_layers", "num_layers")
_FIELDS = {"layers", "hidden", "heads", "intermediate", "init", "from"}


def student_names() -> list[str]:
    """All names that a recipe may use, ``layers-N`` and ``distilbert-Nl`` for any N included."""
    return ["layers-N", *CATALOGUE]


def make_student(spec: str | Mapping[str, Any] | None, teacher: Checkpoint, texts: Examples, seed: int) -> Checkpoint:
    """A student of the asked shape, started from the teacher.

    Args:
        spec: None (a copy of the teacher), ``layers-N``, a name of :data:`CATALOGUE`, ``{"layers": …, "hidden": …, "heads": …,
            "intermediate": …, "init": "teacher" | "random"}`` (what is left out is the teacher's) or ``{"from": folder or hub name}``.
        teacher: not changed.
        texts: task texts, for the principal directions of its hidden states.
        seed: of all weights that start at random.

    Raises:
        UserError: an unknown name or field, more layers than the teacher has, a width that the heads do not divide.
    """
    torch.manual_seed(seed)
    if spec is None:
        return Checkpoint(copy.deepcopy(teacher.model), teacher.tokenizer, teacher.task)
    if isinstance(spec, str):
        match = re.fullmatch(r"layers-(\d+)", spec)
        if match:
            return _cut(teacher, int(match[1]), "teacher")
        if spec not in CATALOGUE:
            raise UserError("unknown student", where="student", found=spec, expected="one of " + ", ".join(student_names()))
        shape = CATALOGUE[spec]
        return _custom(teacher, texts, **{k: getattr(shape, k) for k in ("layers", "hidden", "heads", "intermediate")}, init="teacher")
    unknown = set(spec) - _FIELDS
    if unknown:
        raise UserError("unknown field", where="student", found=", ".join(sorted(unknown)), expected=", ".join(sorted(_FIELDS)))
    if "from" in spec:
        started = load_base(spec["from"], teacher.task, labels_of(teacher))
        started.tokenizer.model_max_length = min(started.tokenizer.model_max_length, teacher.tokenizer.model_max_length)
        return Checkpoint(started.model.eval(), started.tokenizer, teacher.task)
    return _custom(teacher, texts, **spec)


def uniform_layers(teacher: int, student: int) -> list[int]:
    """Which teacher layer (0-based) each student layer starts from: evenly spaced, ending with the last.

    TinyBERT's map g(m) = m · M / N (arXiv 1909.10351); where N does not divide M it is rounded.

    >>> uniform_layers(12, 4), uniform_layers(6, 1), uniform_layers(6, 4)
    ([2, 5, 8, 11], [5], [1, 2, 4, 5])
    """
    return [int(m * teacher / student + 0.5) - 1 for m in range(1, student + 1)]


def _custom(
    teacher: Checkpoint,
    texts: Examples,
    layers: int | None = None,
    hidden: int | None = None,
    heads: int | None = None,
    intermediate: int | None = None,
    init: str = "teacher",
) -> Checkpoint:
    config = teacher.model.config
    layers = layers or len(layer_stack(teacher.model)[1])
    for name, value in (("layers", layers), ("hidden", hidden), ("heads", heads), ("intermediate", intermediate)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise UserError("must be a whole number above zero", where=f"student.{name}", found=value)
    if init not in ("teacher", "random"):
        raise UserError("unknown start", where="student.init", found=init, expected="teacher or random")
    old_hidden, old_heads = int(config.hidden_size), int(config.num_attention_heads)
    width, head_count = hidden or old_hidden, heads or old_heads
    if width % head_count:
        raise UserError(
            "the heads do not divide the width",
            where="student",
            found=f"hidden {width}, heads {head_count}",
            expected="hidden a multiple of heads",
        )
    same = width == old_hidden and head_count == old_heads and (intermediate or _intermediate(config)) == _intermediate(config)
    if same:
        return _cut(teacher, layers, init)
    model = _empty_bert(teacher, layers, width, head_count, intermediate or 4 * width)
    student = Checkpoint(model.eval(), teacher.tokenizer, teacher.task)
    if init == "teacher" and width <= old_hidden:
        project(teacher, student, uniform_layers(len(layer_stack(teacher.model)[1]), layers), texts)
    return student


def _intermediate(config: Any) -> int:
    return int(getattr(config, "intermediate_size", None) or config.hidden_dim)


def _cut(teacher: Checkpoint, layers: int, init: str) -> Checkpoint:
    """The teacher's own class with fewer layers."""
    stack_name, stack = layer_stack(teacher.model)
    if layers > len(stack) or layers < 1:
        raise UserError(
            "the student cannot have more layers than its teacher", where="student", found=layers, expected=f"1 to {len(stack)}"
        )
    config = copy.deepcopy(teacher.model.config)
    key = next((key for key in _LAYER_KEYS if key in config.to_dict()), None)
    if key is None:
        raise UserError("this architecture has no setting for its depth", where="student", found=config.model_type)
    setattr(config, key, layers)
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[i] for i in uniform_layers(len(stack), layers)]
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager", dtype=torch.float32)
    if init == "teacher":
        _copy_layers(teacher.model, model, stack_name, uniform_layers(len(stack), layers))
    return Checkpoint(model.eval(), teacher.tokenizer, teacher.task)


def _copy_layers(source: nn.Module, target: nn.Module, stack: str, mapping: list[int]) -> None:
    have = source.state_dict()
    values = {}
    for name in target.state_dict():
        match = re.match(re.escape(stack) + r"\.(\d+)\.(.*)", name)
        values[name] = have[f"{stack}.{mapping[int(match[1])]}.{match[2]}"] if match else have[name]
    target.load_state_dict(values)


def _empty_bert(teacher: Checkpoint, layers: int, hidden: int, heads: int, intermediate: int) -> nn.Module:
    """A plain BERT classifier with the teacher's vocabulary, positions and labels, weights at random."""
    old = teacher.model.config
    config = AutoConfig.for_model(
        "bert",
        vocab_size=int(teacher.model.get_input_embeddings().num_embeddings),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=intermediate,
        max_position_embeddings=int(getattr(old, "max_position_embeddings", 512) or 512),
        type_vocab_size=max(int(getattr(old, "type_vocab_size", 2) or 2), 2),
        pad_token_id=int(teacher.tokenizer.pad_token_id or 0),
        layer_norm_eps=float(getattr(old, "layer_norm_eps", 1e-12)),
    )
    set_labels(config, teacher.task, labels_of(teacher))
    model: nn.Module = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager", dtype=torch.float32)
    return model
