"""The catalogue of student shapes, and how a student starts from its teacher.

Same width: the student takes the teacher's layers that lie evenly through its depth (uniform mapping, the last one included).
Smaller width: the teacher's hidden space is projected on its principal directions over the task's own texts
(:mod:`imbik.students.projection`).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

import torch

from imbik.errors import UserError
from imbik.models.anatomy import depth_of
from imbik.models.checkpoint import labels_of
from imbik.models.pretrained import load_base
from imbik.models.structure import structure_of
from imbik.students.bert import _cut, _empty_bert, _projected
from imbik.students.distilbert import check_distilbert, make_distilbert
from imbik.students.mobilebert import make_mobilebert, mobile_shape
from imbik.students.shape import Shape, _checked, _count, _init, _shape_of
from imbik.types import Checkpoint, Examples

CATALOGUE: dict[str, Shape] = {
    "tinybert-4l-312": Shape(4, 312, 12, 1200),
    "tinybert-6l-768": Shape(6, 768, 12, 3072),
    "mini-4x256": Shape(4, 256, 8, 1024),
    "mini-3x256": Shape(3, 256, 8, 1024),
    "mini-2x192": Shape(2, 192, 6, 768),
    "mini-2x128": Shape(2, 128, 4, 512),
}
"""Shapes by name. The ``mini`` ones have heads of 32 and widths that are multiples of 64: what processors multiply fastest."""

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
