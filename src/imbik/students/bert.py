"""BERT-shaped students: layers copied, cut or projected from the teacher."""

from __future__ import annotations

import copy
from dataclasses import replace

from torch import nn
from transformers import AutoConfig

from imbik.errors import UserError
from imbik.models.anatomy import anatomy, depth_of, layer_stack
from imbik.models.checkpoint import labels_of, set_labels
from imbik.models.hooks import module_at
from imbik.models.pretrained import empty_model
from imbik.students.layer_map import uniform_layers
from imbik.students.projection import project
from imbik.students.shape import Shape
from imbik.types import Checkpoint, Examples

_LAYER_KEYS = ("num_hidden_layers", "n_layers", "num_layers")


def _projected(teacher: Checkpoint, student: Checkpoint, shape: Shape, texts: Examples) -> Checkpoint:
    """A plain BERT started from a teacher of another shape; what stays random is noted."""
    if shape.hidden > int(teacher.model.config.hidden_size):
        return replace(student, notes=("student: started at random: it is wider than its teacher",))
    random = project(teacher, student, uniform_layers(depth_of(teacher.model), shape.layers), texts)
    missing = f"{type(teacher.model).__name__} does not give them in the student's shape"
    return replace(student, notes=(f"student: {', '.join(random)} started at random: {missing}",)) if random else student


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
    model = empty_model(config, teacher.task)
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
    model: nn.Module = empty_model(config, teacher.task)
    return model
