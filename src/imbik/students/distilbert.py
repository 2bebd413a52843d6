"""DistilBERT's shape, started from a teacher: half of its layers, no token types, no pooler (Sanh et al. 2019, arXiv 1910.01108)."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

from imbik.errors import UserError
from imbik.models.architectures.sentence import SentenceEncoder
from imbik.models.blocks import layer_stack
from imbik.models.checkpoint import set_labels
from imbik.models.pretrained import empty_model
from imbik.models.sentences.pooling import inherit_pooling
from imbik.models.tables import position_offset, positions_of
from imbik.models.teacher import Teacher
from imbik.models.units import inherit_units
from imbik.students.shape import check_depth
from imbik.students.spec import Inherited, StudentPlan, StudentSpec, Written, count_of, family_of, init_of, refuse_unknown
from imbik.types import Checkpoint, Examples

SOURCES = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert")
"""Architectures whose layers compute what a DistilBERT layer computes, so that their weights can be taken over as they are."""

_LAYER = {
    "attention.q_lin": "attention.self.query",
    "attention.k_lin": "attention.self.key",
    "attention.v_lin": "attention.self.value",
    "attention.out_lin": "attention.output.dense",
    "sa_layer_norm": "attention.output.LayerNorm",
    "ffn.lin1": "intermediate.dense",
    "ffn.lin2": "output.dense",
    "output_layer_norm": "output.LayerNorm",
}
"""DistilBERT's name of each part of a layer -> BERT's."""


def alternate_layers(teacher: int, student: int) -> list[int]:
    """Return the teacher layer (0-based) that each student layer starts from: one out of two, the first and the last included.

    >>> alternate_layers(12, 6), alternate_layers(6, 3), alternate_layers(6, 1)
    ([0, 2, 4, 7, 9, 11], [0, 2, 5], [5])
    """
    if student == 1:
        return [teacher - 1]
    # 12 -> 6 gives 0, 2, 4, 7, 9, 11, which is what the published extraction script takes
    return [int(layer) for layer in np.rint(np.linspace(0, teacher - 1, student))]


@dataclass(frozen=True)
class DistilBert(StudentSpec):
    """``distilbert`` (half of the teacher's layers), ``distilbert-6l`` or ``{family: distilbert, layers: …, init: …}``.

    Attributes:
        layers: None: half of the teacher's.
        init: where the weights start: ``teacher`` or ``random``.
    """

    layers: int | None = None
    init: str = "teacher"
    names: ClassVar[tuple[str, ...]] = ("distilbert", "distilbert-Nl")

    @classmethod
    def parse(cls, written: Written) -> DistilBert | None:
        """Return the spec of a name that begins with ``distilbert``, or a mapping of that family."""
        if isinstance(written, str):
            match = re.fullmatch(r"distilbert(?:-(\d+)l)?", written)
            return None if match is None else cls(written, int(match[1]) if match[1] else None)
        if not isinstance(written, Mapping) or family_of(written) != "distilbert":
            return None
        refuse_unknown(
            written,
            ("family", "layers", "init"),
            what="a DistilBERT student has its teacher's width",
            fix="leave the rest out; narrower students are of the family bert",
        )
        return cls(written, count_of(written, "layers"), init_of(written))

    def plan(self, teacher: Teacher) -> DistilBertPlan:
        """Decide the depth, and which of the teacher's layers the student starts from.

        Raises:
            UserError: more layers than the teacher has, or a teacher whose layers do not fit and ``init`` teacher.
        """
        layers = max(1, teacher.depth // 2) if self.layers is None else self.layers
        check_depth(layers, teacher.depth, "the student cannot have more layers than its teacher")
        if self.init == "teacher":
            _check_source(teacher.model.config)
        return DistilBertPlan(teacher, self.init, tuple(alternate_layers(teacher.depth, layers)))


@dataclass(frozen=True)
class DistilBertPlan(StudentPlan):
    """A DistilBERT with the teacher's width, heads, vocabulary and labels.

    With ``init`` teacher its layers are every other one of the teacher's, the embedding of token type 0 is added to the positions
    (so that single texts are embedded exactly as the teacher embeds them), and the head starts as :func:`copy_head` says.

    Attributes:
        init: where the weights start: ``teacher`` or ``random``.
        layer_map: the teacher layer (0-based) of each student layer.
    """

    init: str
    layer_map: tuple[int, ...]
    architecture: ClassVar[str | None] = "distilbert"

    def make(self, inherited: Inherited, texts: Examples) -> Checkpoint:
        """Make the student; the texts are not read."""
        teacher = self.teacher
        config = _config(inherited, len(self.layer_map))
        model = empty_model(config, teacher.task)
        if self.init == "teacher":
            copy_encoder(teacher.model.base_model, model.base_model, self.layer_map)
            copy_head(teacher.model, model)
        return Checkpoint(model.eval(), without_types(teacher.tokenizer), teacher.task)


def without_types(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """Return a copy of the tokenizer that gives no token types, which DistilBERT does not take."""
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.model_input_names = [name for name in tokenizer.model_input_names if name != "token_type_ids"]
    tokenizer.init_kwargs["model_input_names"] = tokenizer.model_input_names  # what save_pretrained writes
    return tokenizer


@torch.no_grad()
def copy_encoder(source: PreTrainedModel, target: nn.Module, mapping: Sequence[int]) -> None:
    """Copy embeddings and the layers ``mapping`` of an encoder of :data:`SOURCES` into a ``DistilBertModel`` of the same width.

    Raises:
        UserError: an architecture that does not fit.
    """
    _check_source(source.config)
    old, new = source.embeddings, target.get_submodule("embeddings")
    # RoBERTa's positions begin behind its padding id; DistilBERT's at 0
    offset = position_offset(source)
    positions = new.position_embeddings.weight
    new.word_embeddings.weight.copy_(old.word_embeddings.weight)
    positions.copy_(old.position_embeddings.weight[offset : offset + len(positions)])
    if getattr(old, "token_type_embeddings", None) is not None:
        # DistilBERT has no token types, so the type of single texts becomes part of every position
        positions += old.token_type_embeddings.weight[0]
    new.LayerNorm.load_state_dict(old.LayerNorm.state_dict())
    stack = layer_stack(source)[1]
    same = source.config.model_type == "distilbert"
    for layer, index in zip(layer_stack(target)[1], mapping, strict=True):
        for name, name_in_bert in _LAYER.items():
            source_module = stack[index].get_submodule(name if same else name_in_bert)
            layer.get_submodule(name).load_state_dict(source_module.state_dict())


@torch.no_grad()
def copy_head(teacher: PreTrainedModel, student: PreTrainedModel) -> None:
    """Start ``pre_classifier`` and ``classifier`` from the teacher's head; of a sentence encoder the matrix behind the pooling, if any.

    The teacher's head is tanh(W h + b) and a product V; DistilBERT's is relu(W' h + b') and a product. With b' = b + 1 and the
    constant -1 moved into the last bias, relu(x + 1) - 1 = max(x, -1): tanh's straight middle and lower end exactly, its upper end
    left open. A head with GELU or ReLU is taken over as it is.
    """
    if isinstance(student, SentenceEncoder):
        if student.dense is not None:
            student.dense.load_state_dict(teacher.dense.state_dict())
        return
    dense, out, bounded = _head(teacher)
    student.pre_classifier.load_state_dict(dense.state_dict())
    student.classifier.load_state_dict(out.state_dict())
    if bounded:
        student.pre_classifier.bias += 1.0
        student.classifier.bias -= out.weight.sum(1)


def _head(teacher: PreTrainedModel) -> tuple[nn.Linear, nn.Linear, bool]:
    """Return first and last matrix of the head, and whether a tanh stands between."""
    kind = teacher.config.model_type
    if kind == "distilbert":
        # ReLU here, tanh in BERT's pooler and RoBERTa's head, GELU in ELECTRA's
        return teacher.pre_classifier, teacher.classifier, False
    if kind == "bert":
        return teacher.bert.pooler.dense, teacher.classifier, True
    return teacher.classifier.dense, teacher.classifier.out_proj, kind != "electra"


def _check_source(config: PretrainedConfig) -> None:
    # ELECTRA-small: a table narrower than the layers has a projection that DistilBERT has no place
    # for
    narrow = int(getattr(config, "embedding_size", config.hidden_size) or config.hidden_size) != int(config.hidden_size)
    if config.model_type not in SOURCES or narrow:
        raise UserError(
            "a DistilBERT student cannot start from this architecture",
            where="student",
            found=config.model_type + (", embeddings narrower than its layers" if narrow else ""),
            expected=", ".join(SOURCES),
            fix="use init: random, a layers-N student, or {from: FOLDER}",
        )


def _config(inherited: Inherited, layers: int) -> PretrainedConfig:
    old = inherited.config
    config = AutoConfig.for_model(
        "distilbert",
        vocab_size=inherited.vocabulary,
        max_position_embeddings=min(positions_of(old), 512),
        n_layers=layers,
        n_heads=int(old.num_attention_heads),
        dim=int(old.hidden_size),
        hidden_dim=int(getattr(old, "hidden_dim", None) or old.intermediate_size),
        activation=getattr(old, "hidden_act", None) or getattr(old, "activation", "gelu"),
        pad_token_id=inherited.padding,
    )
    set_labels(config, inherited.task, inherited.labels)
    inherit_units(config, inherited.config)
    inherit_pooling(config, inherited.config)
    return config
