"""The catalogue of student shapes, and how a student starts from its teacher.

Same width: the student takes the teacher's layers that lie evenly through its depth (uniform mapping, the last one included).
Smaller width: the teacher's hidden space is projected on its principal directions over the task's own texts (:mod:`imbik.students.projection`).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification

from imbik.errors import UserError
from imbik.models.anatomy import anatomy, depth_of
from imbik.models.checkpoint import labels_of, layer_stack, load_base, set_labels
from imbik.models.hooks import module_at
from imbik.models.structure import structure_of
from imbik.students.distilbert import check_distilbert, make_distilbert
from imbik.students.layer_map import uniform_layers
from imbik.students.mobilebert import make_mobilebert, mobile_shape
from imbik.students.projection import project
from imbik.types import Checkpoint, Examples


@dataclass(frozen=True)
class Shape:
    """Numbers of an encoder."""

    layers: int
    hidden: int
    heads: int
    intermediate: int


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
_FIELDS = {"layers", "hidden", "heads", "intermediate", "init", "from", "family"}


def student_names() -> list[str]:
    """All names that a recipe may use, ``layers-N`` for any N included."""
    return ["layers-N", "distilbert", "distilbert-Nl", "mobilebert", "mobilebert-24l", *CATALOGUE]


def check_student(spec: str | Mapping[str, Any] | None, teacher: Checkpoint) -> None:
    """Refuse a shape that cannot be made for this teacher, before anything is trained.

    Raises:
        UserError: as :func:`make_student`.
    """
    if spec is None or (isinstance(spec, Mapping) and "from" in spec and not set(spec) - _FIELDS):
        return
    if mobile_shape(spec, teacher) is not None:
        return
    distilbert = _distilbert(spec)
    if distilbert is not None:
        check_distilbert(teacher, *distilbert)
    else:
        _resolve(spec, teacher)


def make_student(spec: str | Mapping[str, Any] | None, teacher: Checkpoint, texts: Examples, seed: int) -> Checkpoint:
    """A student of the asked shape, started from the teacher.

    Args:
        spec: None (a copy of the teacher), ``layers-N``, a name of :data:`CATALOGUE`, ``{"layers": …, "hidden": …, "heads": …,
            "intermediate": …, "init": "teacher" | "random"}`` (what is left out is the teacher's), ``{"from": folder or hub name}``,
            ``distilbert`` (half of the teacher's layers), ``distilbert-6l`` or ``{"family": "distilbert", "layers": …, "init": …}``,
            or a MobileBERT, see :func:`imbik.students.mobilebert.mobile_shape`.
        teacher: not changed.
        texts: task texts, for the principal directions of its hidden states.
        seed: of all weights that start at random.

    Raises:
        UserError: an unknown name or field, more layers than the teacher has, a width that the heads do not divide.
    """
    torch.manual_seed(seed)
    if spec is None:
        return Checkpoint(copy.deepcopy(teacher.model), teacher.tokenizer, teacher.task)
    if isinstance(spec, Mapping) and "from" in spec:
        started = load_base(spec["from"], teacher.task, labels_of(teacher))
        started.tokenizer.model_max_length = min(started.tokenizer.model_max_length, teacher.tokenizer.model_max_length)
        return Checkpoint(started.model.eval(), started.tokenizer, teacher.task)
    mobile = mobile_shape(spec, teacher)
    if mobile is not None:
        return make_mobilebert(teacher, mobile)
    distilbert = _distilbert(spec)
    if distilbert is not None:
        return make_distilbert(teacher, *distilbert)
    shape, init = _resolve(spec, teacher)
    if shape == _shape_of(teacher, shape.layers):
        return _cut(teacher, shape.layers, init)
    student = Checkpoint(_empty_bert(teacher, shape).eval(), teacher.tokenizer, teacher.task)
    return student if init == "random" else _projected(teacher, student, shape, texts)


def _projected(teacher: Checkpoint, student: Checkpoint, shape: Shape, texts: Examples) -> Checkpoint:
    """A plain BERT started from a teacher of another shape; what stays random is noted."""
    if shape.hidden > int(teacher.model.config.hidden_size):
        return replace(student, notes=("student: started at random: it is wider than its teacher",))
    random = project(teacher, student, uniform_layers(depth_of(teacher.model), shape.layers), texts)
    missing = f"{type(teacher.model).__name__} does not give them in the student's shape"
    return replace(student, notes=(f"student: {', '.join(random)} started at random: {missing}",)) if random else student


def _distilbert(spec: str | Mapping[str, Any]) -> tuple[int | None, str] | None:
    """Layers (None: half of the teacher's) and start of a DistilBERT student; None for any other student."""
    if isinstance(spec, str):
        match = re.fullmatch(r"distilbert(?:-(\d+)l)?", spec)
        return None if match is None else (int(match[1]) if match[1] else None, "teacher")
    if spec.get("family") != "distilbert":
        return None
    wrong = set(spec) - {"family", "layers", "init"}
    if wrong:
        raise UserError(
            "a DistilBERT student has its teacher's width",
            where="student",
            found=", ".join(sorted(wrong)),
            expected="family, layers, init",
            fix="leave the rest out; narrower students are of the family bert",
        )
    return _count(spec, "layers", None), _init(spec)


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


def _resolve(spec: str | Mapping[str, Any], teacher: Checkpoint) -> tuple[Shape, str]:
    """The numbers that a spec stands for, checked against the teacher, and where the weights start."""
    if structure_of(teacher.model.config):
        raise UserError(
            "a model with replaced or shared layers can be copied, not cut or projected",
            where="student",
            found=spec,
            expected="no student, or {from: folder}",
            fix="start from the model that it was made of",
        )
    if isinstance(spec, str):
        match = re.fullmatch(r"layers-(\d+)", spec)
        if match:
            return _checked(_shape_of(teacher, int(match[1])), teacher), "teacher"
        if spec not in CATALOGUE:
            raise UserError("unknown student", where="student", found=spec, expected="one of " + ", ".join(student_names()))
        return _checked(CATALOGUE[spec], teacher), "teacher"
    unknown = set(spec) - _FIELDS
    if unknown:
        raise UserError("unknown field", where="student", found=", ".join(sorted(unknown)), expected=", ".join(sorted(_FIELDS)))
    for name in ("layers", "hidden", "heads", "intermediate"):
        _count(spec, name, 1)
    if spec.get("family", "bert") != "bert":
        raise UserError("unknown family", where="student.family", found=spec["family"], expected="bert, distilbert or mobilebert")
    init = _init(spec)
    like = _shape_of(teacher, spec.get("layers", depth_of(teacher.model)))
    hidden = spec.get("hidden", like.hidden)
    wide = like.intermediate if hidden == like.hidden else 4 * hidden
    return _checked(Shape(like.layers, hidden, spec.get("heads", like.heads), spec.get("intermediate", wide)), teacher), init


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


def _cut(teacher: Checkpoint, layers: int, init: str) -> Checkpoint:
    """The teacher's own class with fewer layers."""
    mapping = uniform_layers(depth_of(teacher.model), layers)
    config = copy.deepcopy(teacher.model.config)
    key = next((key for key in _LAYER_KEYS if key in config.to_dict()), None)
    if key is None:
        raise UserError("this architecture has no setting for its depth", where="student", found=config.model_type)
    setattr(config, key, layers)
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[i] for i in mapping]
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager", dtype=torch.float32)
    if init == "teacher":
        _copy_layers(teacher.model, model, mapping)
    return Checkpoint(model.eval(), teacher.tokenizer, teacher.task)


def _copy_layers(source: nn.Module, target: nn.Module, mapping: list[int]) -> None:
    """All weights by name, then those of each layer from the layer ``mapping`` gives it, in the order in which layers run."""
    stack, have, values = layer_stack(target)[0] + ".", source.state_dict(), target.state_dict()
    target.load_state_dict({name: value if name.startswith(stack) else have[name] for name, value in values.items()})
    theirs, ours = anatomy(source).layers, anatomy(target).layers
    for layer, index in zip(ours, mapping, strict=True):
        new, old = module_at(target, layer.output.path), module_at(source, theirs[index].output.path).state_dict()
        new.load_state_dict({name: old[name] for name in new.state_dict()})


def _empty_bert(teacher: Checkpoint, shape: Shape) -> nn.Module:
    """A plain BERT classifier with the teacher's vocabulary, positions and labels, weights at random."""
    old = teacher.model.config
    config = AutoConfig.for_model(
        "bert",
        vocab_size=int(teacher.model.get_input_embeddings().num_embeddings),
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.intermediate,
        max_position_embeddings=int(getattr(old, "max_position_embeddings", 512) or 512),
        type_vocab_size=max(int(getattr(old, "type_vocab_size", 2) or 2), 2),
        pad_token_id=int(teacher.tokenizer.pad_token_id or 0),
        layer_norm_eps=float(getattr(old, "layer_norm_eps", 1e-12)),
    )
    set_labels(config, teacher.task, labels_of(teacher))
    model: nn.Module = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager", dtype=torch.float32)
    return model
