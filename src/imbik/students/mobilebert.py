"""MobileBERT's shapes (Sun et al. 2020, arXiv 2004.02984): the student, and the inverted-bottleneck teacher (IB-BERT) that fits it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel
from transformers.models.mobilebert.modeling_mobilebert import NoNorm

from imbik.errors import UserError
from imbik.models.checkpoint import set_labels
from imbik.models.pretrained import empty_model
from imbik.models.sentences.pooling import inherit_pooling
from imbik.models.tables import positions_of
from imbik.models.teacher import Teacher
from imbik.models.units import inherit_units
from imbik.students.spec import Inherited, StudentPlan, StudentSpec, Written, count_of, family_of, refuse_unknown
from imbik.types import Checkpoint, Examples


@dataclass(frozen=True)
class MobileShape:
    """Numbers of a MobileBERT.

    Attributes:
        layers: blocks.
        hidden: width between blocks.
        bottleneck: width inside a block.
        heads: of attention; they divide the bottleneck.
        feedforwards: stacked feed-forward networks in a block, each four bottlenecks wide.
        embedding: width of the word table; three neighboring words are read by a product of ``3 · embedding`` by ``hidden``.
    """

    layers: int
    hidden: int
    bottleneck: int
    heads: int
    feedforwards: int = 4
    embedding: int = 128


PUBLISHED = MobileShape(layers=24, hidden=512, bottleneck=128, heads=4)
"""The shape of the paper: 24,581,888 parameters, 24,844,544 with the pooler that classifiers use."""


def sized_to(teacher: Teacher) -> MobileShape:
    """Return the shape ``mobilebert`` stands for: the published proportions at the teacher's size.

    As many blocks and heads as the teacher has (so that attention can be compared head by head), two thirds of its width between
    blocks (512 for 768), a quarter inside.

    >>> from imbik.testing.tiny import tiny_bert
    >>> sized_to(Teacher.of(tiny_bert(layers=6, hidden=384, heads=12)))
    MobileShape(layers=6, hidden=256, bottleneck=96, heads=12, feedforwards=4, embedding=128)
    """
    config = teacher.model.config
    width = int(config.hidden_size)
    heads = int(config.num_attention_heads)
    # rounded to whole heads, at least one number each
    bottleneck = max(1, width // 4 // heads) * heads
    # a multiple of 8, which vector units multiply without a remainder
    hidden = max(8, 2 * width // 3 // 8 * 8)
    return MobileShape(teacher.depth, hidden, bottleneck, heads, 4, min(128, max(4, width // 3)))


@dataclass(frozen=True)
class MobileBert(StudentSpec):
    """``mobilebert``: sized to the teacher; ``mobilebert-24l``: as published; ``{family: mobilebert, hidden: …}``: sized to the
    teacher but for what is given.

    Attributes:
        published: the shape of the paper, whatever the teacher's.
        numbers: fields of :class:`MobileShape` that are given.
    """

    published: bool = False
    numbers: tuple[tuple[str, int], ...] = ()
    names: ClassVar[tuple[str, ...]] = ("mobilebert", "mobilebert-24l")

    @classmethod
    def parse(cls, written: Written) -> MobileBert | None:
        """Return the spec of one of the two names, or of a mapping of the family."""
        if isinstance(written, str):
            return cls(written, written != "mobilebert") if written in cls.names else None
        if not isinstance(written, Mapping) or family_of(written) != "mobilebert":
            return None
        names = [field.name for field in fields(MobileShape)]
        refuse_unknown(written, ("family", *names))
        given = {name: count_of(written, name) for name in names}
        return cls(written, numbers=tuple((name, number) for name, number in given.items() if number is not None))

    def plan(self, teacher: Teacher) -> MobileBertPlan:
        """Decide the shape.

        Raises:
            UserError: heads that do not divide the bottleneck, embeddings wider than the blocks.
        """
        shape = PUBLISHED if self.published else replace(sized_to(teacher), **dict(self.numbers))
        if shape.bottleneck % shape.heads:
            found = f"bottleneck {shape.bottleneck}, heads {shape.heads}"
            raise UserError("the heads do not divide the bottleneck", where="student", found=found, expected="a multiple of heads")
        if shape.embedding > shape.hidden:
            found = f"embedding {shape.embedding}, hidden {shape.hidden}"
            raise UserError("the embeddings are wider than the blocks", where="student", found=found, expected="embedding at most hidden")
        return MobileBertPlan(teacher, shape)


@dataclass(frozen=True)
class MobileBertPlan(StudentPlan):
    """A MobileBERT with the teacher's vocabulary and labels, weights at random.

    Its embeddings come from an IB-BERT: that is the first thing a ``mobilebert`` step does.

    Attributes:
        shape: its numbers.
    """

    shape: MobileShape
    architecture: ClassVar[str | None] = "mobilebert"

    def make(self, inherited: Inherited, texts: Examples) -> Checkpoint:
        """Make the student; the texts are not read."""
        return make_mobilebert(inherited, self.shape)


def make_mobilebert(inherited: Inherited, shape: MobileShape) -> Checkpoint:
    """Make a MobileBERT classifier, weights at random."""
    config = _config(inherited, shape, num_feedforward_networks=shape.feedforwards, intermediate_size=4 * shape.bottleneck)
    student = _classifier(config, inherited)
    _start_blocks(student.model)
    return student


@torch.no_grad()
def _start_blocks(model: PreTrainedModel) -> None:
    """Start from random matrices that keep the size of a state, and every NoNorm as the layer norm that it stands for.

    Without norms, transformers' start (deviation 0.02, whatever the width) lets what a token says of others shrink to some 1e-5 of the
    state, which bfloat16 cannot tell: the student stays at chance. Here a matrix of n inputs has deviation 1/√n, and NoNorm's scale and
    shift are those of a layer norm on random token ids.
    """
    for module in model.base_model.modules():
        if isinstance(module, nn.Linear):
            module.weight.normal_(std=module.in_features**-0.5)
    norms = [module for module in model.modules() if isinstance(module, NoNorm)]
    hooks = [norm.register_forward_hook(_as_layer_norm) for norm in norms]
    try:
        # (32, 32) random ids, none of them 0: BERT-like tables have padding there. Each hook gives
        # the normed states instead of the module's own, so that a norm further up is set on states
        # as they will be and not on what the untouched norms below let through
        model(input_ids=torch.randint(model.config.vocab_size, (32, 32)).clamp_min(1))
    finally:
        for hook in hooks:
            hook.remove()


def _as_layer_norm(norm: NoNorm, inputs: tuple[Tensor, ...], _output: Tensor) -> Tensor:
    states = inputs[0]
    stand_for_layer_norm(norm, states)
    return states * norm.weight + norm.bias


def stand_for_layer_norm(norm: NoNorm, states: Tensor, weight: Tensor | float = 1.0, bias: Tensor | float = 0.0) -> None:
    """Give a NoNorm the scale and shift that a layer norm with ``weight`` and ``bias`` has on these states ``(…, H)`` on average."""
    # correction=0: a layer norm divides by N and not by N - 1
    scale = weight / states.std(dim=-1, correction=0).mean()
    norm.weight.copy_(scale)
    norm.bias.copy_(bias - scale * states.mean())


def make_ib_bert(inherited: Inherited, shape: MobileShape, inner: int, intermediate: int) -> Checkpoint:
    """Make an IB-BERT with the same width between blocks as the student: layer norm, GELU, one feed-forward network.

    As the published teacher but for one thing: its queries and keys read a product and a norm of the block's input (the student's own
    arrangement, the only one that transformers computes), where the published ones read the input itself.

    Args:
        inherited: vocabulary, positions and labels.
        shape: the student's.
        inner: width inside the blocks.
        intermediate: width of the feed-forward networks.
    """
    config = _config(
        inherited,
        replace(shape, bottleneck=inner),
        num_feedforward_networks=1,
        intermediate_size=intermediate,
        normalization_type="layer_norm",
        hidden_act="gelu",
    )
    return _classifier(config, inherited)


def _config(inherited: Inherited, shape: MobileShape, **more: str | int) -> PretrainedConfig:
    config = AutoConfig.for_model(
        "mobilebert",
        vocab_size=inherited.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        embedding_size=shape.embedding,
        intra_bottleneck_size=shape.bottleneck,
        max_position_embeddings=min(positions_of(inherited.config), 512),
        type_vocab_size=inherited.token_types,
        pad_token_id=inherited.padding,
        **more,
    )
    set_labels(config, inherited.task, inherited.labels)
    inherit_units(config, inherited.config)
    inherit_pooling(config, inherited.config)
    return config


def _classifier(config: PretrainedConfig, inherited: Inherited) -> Checkpoint:
    return Checkpoint(empty_model(config, inherited.task).eval(), inherited.tokenizer, inherited.task)
