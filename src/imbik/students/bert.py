"""BERT-shaped students: layers copied, cut or projected from the teacher.

Same width: the student takes the teacher's layers that lie evenly through its depth (uniform mapping, the last one included).
Smaller width: the teacher's hidden space is projected on its principal directions over the task's own texts
(:mod:`imbik.students.projection`).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import nn
from transformers import AutoConfig

from imbik.errors import UserError
from imbik.models.anatomy import anatomy
from imbik.models.blocks import depth_setting, layer_stack
from imbik.models.checkpoint import set_labels
from imbik.models.pretrained import empty_model
from imbik.models.sentences.pooling import inherit_pooling
from imbik.models.structure import structure_of
from imbik.models.teacher import Teacher
from imbik.models.units import inherit_units
from imbik.students.layer_map import uniform_layers
from imbik.students.projection import project
from imbik.students.shape import CATALOGUE, MINI, Shape, check_attention, check_shape, named_shape, shape_of
from imbik.students.spec import Inherited, StudentPlan, StudentSpec, Written, count_of, family_of, init_of, refuse_unknown
from imbik.tasks.outputs import IMAGES
from imbik.tasks.registry import task_of
from imbik.types import Checkpoint, Examples, Note

FIELDS = ("family", "from", "heads", "hidden", "init", "intermediate", "layers")


@dataclass(frozen=True)
class Bert(StudentSpec):
    """``layers-N``, the name of a shape, or a mapping of numbers; what is left out is the teacher's.

    Attributes:
        named: the shape that the name stands for.
        layers, hidden, heads, intermediate: the numbers that are given.
        init: where the weights start: ``teacher`` or ``random``.
    """

    named: Shape | None = None
    layers: int | None = None
    hidden: int | None = None
    heads: int | None = None
    intermediate: int | None = None
    init: str = "teacher"
    names: ClassVar[tuple[str, ...]] = ("layers-N", MINI, *CATALOGUE)
    images: ClassVar[bool] = True

    @classmethod
    def parse(cls, written: Written) -> Bert | None:
        """Return the spec of ``layers-N``, a name of a shape, or a mapping of the family ``bert``."""
        if isinstance(written, str):
            match = re.fullmatch(r"layers-(\d+)", written)
            if match:
                return cls(written, layers=int(match[1]))
            named = named_shape(written)
            return None if named is None else cls(written, named=named)
        if not isinstance(written, Mapping) or family_of(written) != "bert":
            return None
        refuse_unknown(written, FIELDS)
        return cls(
            written,
            layers=count_of(written, "layers"),
            hidden=count_of(written, "hidden"),
            heads=count_of(written, "heads"),
            intermediate=count_of(written, "intermediate"),
            init=init_of(written),
        )

    def plan(self, teacher: Teacher) -> BertPlan:
        """Decide the shape, and which of the teacher's layers the student starts from.

        Raises:
            UserError: replaced or shared layers, more layers than the teacher has, heads that do not divide the width.
        """
        if structure_of(teacher.model.config):
            raise UserError(
                "a model with replaced or shared layers can be copied, not cut or projected",
                where="student",
                found=self.written,
                expected="no student, or {from: folder}",
                fix="start from the model that it was made of",
            )
        check_attention(teacher.task, teacher.model.config)
        shape = check_shape(self.named or self._numbers(teacher), teacher.depth)
        mapping = tuple(uniform_layers(teacher.depth, shape.layers))
        # nothing differs but the depth: the teacher's own class, whatever it is, keeps every detail
        if shape == shape_of(teacher, shape.layers):
            return CutPlan(teacher, shape, self.init, mapping, depth_setting(teacher.model.config, "student"))
        if task_of(teacher.task).reads == IMAGES:
            raise UserError(
                "networks that read images are cut to fewer layers, not to another width",
                where="student",
                found=self.written,
                expected="layers-N",
                fix="name a folder with a config of the wanted width: {from: folder}",
            )
        return ProjectedPlan(teacher, shape, self.init, mapping)

    def _numbers(self, teacher: Teacher) -> Shape:
        layers = self.layers if self.layers is not None else teacher.depth
        like = shape_of(teacher, layers)
        hidden = self.hidden or like.hidden
        # at another width BERT's own proportion, four times the hidden size
        wide = like.intermediate if hidden == like.hidden else 4 * hidden
        return Shape(layers, hidden, self.heads or like.heads, self.intermediate or wide)


@dataclass(frozen=True)
class BertPlan(StudentPlan):
    """A BERT-shaped student.

    Attributes:
        shape: its numbers.
        init: where the weights start: ``teacher`` or ``random``.
        layer_map: the teacher layer (0-based) of each student layer.
    """

    shape: Shape
    init: str
    layer_map: tuple[int, ...]


@dataclass(frozen=True)
class CutPlan(BertPlan):
    """The teacher's own class with fewer layers.

    Attributes:
        depth_setting: what the architecture's config calls its depth.
    """

    depth_setting: str

    def make(self, inherited: Inherited, texts: Examples) -> Checkpoint:
        """Make the teacher's class anew and copy what it keeps."""
        teacher, config = self.teacher, copy.deepcopy(self.teacher.model.config)
        setattr(config, self.depth_setting, self.shape.layers)
        # one entry per layer (such as ModernBERT's full and sliding attention) goes with its layer
        if getattr(config, "layer_types", None):
            config.layer_types = [config.layer_types[i] for i in self.layer_map]
        model = empty_model(config, teacher.task)
        if self.init == "teacher":
            _copy_layers(teacher, model, self.layer_map)
        return Checkpoint(model.eval(), teacher.tokenizer, teacher.task)


@dataclass(frozen=True)
class ProjectedPlan(BertPlan):
    """A plain BERT of another shape than the teacher's."""

    architecture: ClassVar[str | None] = "bert"

    def make(self, inherited: Inherited, texts: Examples) -> Checkpoint:
        """Make a plain BERT and project the teacher into it; what stays random is noted."""
        teacher = self.teacher
        student = Checkpoint(_empty_bert(inherited, self.shape).eval(), teacher.tokenizer, teacher.task)
        if self.init == "random":
            return student
        # principal directions can only narrow a space
        if self.shape.hidden > int(teacher.model.config.hidden_size):
            return replace(student, notes=(Note.of("wider_start"),))
        random = project(teacher, student, self.layer_map, texts)
        if not random:
            return student
        return replace(student, notes=(Note.of("random_start", names=tuple(random), model=type(teacher.model).__name__),))


def _copy_layers(source: Teacher, target: nn.Module, mapping: Sequence[int]) -> None:
    """Copy all weights by name, then those of each layer from the layer ``mapping`` gives it, in the order in which layers run."""
    stack, have, values = layer_stack(target)[0] + ".", source.model.state_dict(), target.state_dict()
    # layers by number would copy the first ones: those keep their values here and follow below
    target.load_state_dict({name: value if name.startswith(stack) else have[name] for name, value in values.items()})
    for layer, index in zip(anatomy(target).layers, mapping, strict=True):
        new = target.get_submodule(layer.output.path)
        old = source.model.get_submodule(source.anatomy.layers[index].output.path).state_dict()
        new.load_state_dict({name: old[name] for name in new.state_dict()})


def _empty_bert(inherited: Inherited, shape: Shape) -> nn.Module:
    """Make a plain BERT classifier with the teacher's vocabulary, positions and labels, weights at random."""
    old = inherited.config
    config = AutoConfig.for_model(
        "bert",
        vocab_size=inherited.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.intermediate,
        max_position_embeddings=int(getattr(old, "max_position_embeddings", 512) or 512),
        type_vocab_size=inherited.token_types,
        pad_token_id=inherited.padding,
        layer_norm_eps=float(getattr(old, "layer_norm_eps", 1e-12)),
    )
    set_labels(config, inherited.task, inherited.labels)
    inherit_units(config, inherited.config)
    inherit_pooling(config, inherited.config)
    model: nn.Module = empty_model(config, inherited.task)
    return model
