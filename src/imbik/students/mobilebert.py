"""MobileBERT's shapes (Sun et al. 2020, arXiv 2004.02984): the student, and the inverted-bottleneck teacher (IB-BERT) that fits it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig
from transformers.models.mobilebert.modeling_mobilebert import NoNorm

from imbik.errors import UserError
from imbik.models.anatomy import anatomy
from imbik.models.checkpoint import labels_of, set_labels
from imbik.models.pretrained import empty_model, positions_of
from imbik.types import Checkpoint


@dataclass(frozen=True)
class MobileShape:
    """Numbers of a MobileBERT.

    Attributes:
        layers: blocks.
        hidden: width between blocks.
        bottleneck: width inside a block.
        heads: of attention; they divide the bottleneck.
        feedforwards: stacked feed-forward networks in a block, each four bottlenecks wide.
        embedding: width of the word table; three neighbouring words are read by a product of ``3 · embedding`` by ``hidden``.
    """

    layers: int
    hidden: int
    bottleneck: int
    heads: int
    feedforwards: int = 4
    embedding: int = 128


PUBLISHED = MobileShape(layers=24, hidden=512, bottleneck=128, heads=4)
"""The shape of the paper: 24,581,888 parameters, 24,844,544 with the pooler that classifiers use."""


def sized_to(teacher: Checkpoint) -> MobileShape:
    """The shape ``mobilebert`` stands for: the published proportions at the teacher's size.

    As many blocks and heads as the teacher has (so that attention can be compared head by head), two thirds of its width between blocks
    (512 for 768), a quarter inside.

    >>> from imbik.testing.contract import tiny_bert
    >>> sized_to(tiny_bert(layers=6, hidden=384, heads=12))
    MobileShape(layers=6, hidden=256, bottleneck=96, heads=12, feedforwards=4, embedding=128)
    """
    config = teacher.model.config
    width, heads = int(config.hidden_size), int(config.num_attention_heads)
    bottleneck = max(1, width // 4 // heads) * heads
    hidden = max(8, 2 * width // 3 // 8 * 8)
    return MobileShape(len(anatomy(teacher.model).layers), hidden, bottleneck, heads, 4, min(128, max(4, width // 3)))


def mobile_shape(spec: str | Mapping[str, Any], teacher: Checkpoint) -> MobileShape | None:
    """The shape that a student spec stands for; None for a student of another family.

    ``mobilebert``: :func:`sized_to` the teacher; ``mobilebert-24l``: :data:`PUBLISHED`; ``{"family": "mobilebert", "hidden": …}``: sized
    to the teacher but for what is given.

    Raises:
        UserError: a number that is none, heads that do not divide the bottleneck, embeddings wider than the blocks.
    """
    if isinstance(spec, str):
        return {"mobilebert": sized_to(teacher), "mobilebert-24l": PUBLISHED}.get(spec) if spec.startswith("mobilebert") else None
    if spec.get("family") != "mobilebert":
        return None
    names = [field.name for field in fields(MobileShape)]
    unknown = set(spec) - {"family", *names}
    if unknown:
        raise UserError("unknown field", where="student", found=", ".join(sorted(unknown)), expected=", ".join(["family", *names]))
    given = {name: spec[name] for name in names if name in spec}
    for name, value in given.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError("must be a whole number above zero", where=f"student.{name}", found=value)
    shape = replace(sized_to(teacher), **given)
    if shape.bottleneck % shape.heads:
        found = f"bottleneck {shape.bottleneck}, heads {shape.heads}"
        raise UserError("the heads do not divide the bottleneck", where="student", found=found, expected="a multiple of heads")
    if shape.embedding > shape.hidden:
        found = f"embedding {shape.embedding}, hidden {shape.hidden}"
        raise UserError("the embeddings are wider than the blocks", where="student", found=found, expected="embedding at most hidden")
    return shape


def make_mobilebert(teacher: Checkpoint, shape: MobileShape) -> Checkpoint:
    """A MobileBERT with the teacher's vocabulary and labels, weights at random.

    Its embeddings come from an IB-BERT: that is the first thing a ``mobilebert`` step does.
    """
    config = _config(teacher, shape, num_feedforward_networks=shape.feedforwards, intermediate_size=4 * shape.bottleneck)
    student = _classifier(config, teacher)
    _start_blocks(student.model)
    return student


@torch.no_grad()
def _start_blocks(model: Any) -> None:
    """Random matrices that keep the size of a state, and every NoNorm as the layer norm that it stands for.

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
        model(input_ids=torch.randint(model.config.vocab_size, (32, 32)).clamp_min(1))
    finally:
        for hook in hooks:
            hook.remove()


def _as_layer_norm(norm: Any, inputs: tuple[Tensor, ...], _output: Tensor) -> Tensor:
    states = inputs[0]
    stand_for_layer_norm(norm, states)
    return states * norm.weight + norm.bias


def stand_for_layer_norm(norm: Any, states: Tensor, weight: Tensor | float = 1.0, bias: Tensor | float = 0.0) -> None:
    """Give a NoNorm the scale and shift that a layer norm with ``weight`` and ``bias`` has on these states ``(…, H)`` on average."""
    scale = weight / states.std(dim=-1, correction=0).mean()
    norm.weight.copy_(scale)
    norm.bias.copy_(bias - scale * states.mean())


def make_ib_bert(teacher: Checkpoint, shape: MobileShape, inner: int, intermediate: int) -> Checkpoint:
    """An IB-BERT with the same width between blocks as the student and ``inner`` inside: layer norm, GELU, one feed-forward network.

    As the published teacher but for one thing: its queries and keys read a product and a norm of the block's input (the student's own
    arrangement, the only one that transformers computes), where the published ones read the input itself.
    """
    config = _config(
        teacher,
        replace(shape, bottleneck=inner),
        num_feedforward_networks=1,
        intermediate_size=intermediate,
        normalization_type="layer_norm",
        hidden_act="gelu",
    )
    return _classifier(config, teacher)


def _config(teacher: Checkpoint, shape: MobileShape, **more: Any) -> Any:
    old = teacher.model.config
    config = AutoConfig.for_model(
        "mobilebert",
        vocab_size=int(teacher.model.get_input_embeddings().num_embeddings),
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        embedding_size=shape.embedding,
        intra_bottleneck_size=shape.bottleneck,
        max_position_embeddings=min(positions_of(old), 512),
        type_vocab_size=max(int(getattr(old, "type_vocab_size", 2) or 2), 2),
        pad_token_id=int(teacher.tokenizer.pad_token_id or 0),
        **more,
    )
    set_labels(config, teacher.task, labels_of(teacher))
    return config


def _classifier(config: Any, teacher: Checkpoint) -> Checkpoint:
    model = empty_model(config, teacher.task)
    return Checkpoint(model.eval(), teacher.tokenizer, teacher.task)
