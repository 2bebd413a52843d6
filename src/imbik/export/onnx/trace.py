"""PyTorch model -> plain ONNX graph.

transformers lets a program register its own attention function. During the trace we register one that becomes
a single graph node, ``imbik::Attention(query, key, value, mask)``, so that fusing attention does not depend
on recognizing the dozens of nodes that one architecture or one version happens to write. Models that do not
use the attention interface, or that add something to the attention scores, are traced with their own eager
attention.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import onnx
import torch
from torch import nn

from imbik.models.inputs import Logits, attention_as

OPSET = 17
DOMAIN = "imbik"
_NAME = "imbik_export"


class NotFusible(Exception):
    """The model's attention is more than softmax(QKᵀ·scale + padding)·V."""


class _Attention(torch.autograd.Function):  # type: ignore[misc]
    """Attention that the exporter writes as one node; query, key, value ``(B, N, T, D)``, mask ``(B, T)`` ->
    ``(B, T, N, D)``."""

    @staticmethod
    def forward(ctx: Any, query: Any, key: Any, value: Any, mask: Any, heads: int, scale: float) -> torch.Tensor:
        keep = mask[:, None, None, :].to(torch.bool)
        out = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=keep, scale=scale)
        return out.transpose(1, 2).contiguous()

    @staticmethod
    def symbolic(g: Any, query: Any, key: Any, value: Any, mask: Any, heads: int, scale: float) -> Any:
        node = g.op(f"{DOMAIN}::Attention", query, key, value, mask, num_heads_i=heads, scale_f=scale)
        return node.setType(query.type().with_sizes([None, None, None, None]))


def _attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **extra: Any,
) -> tuple[torch.Tensor, None]:
    """The attention function that transformers calls during the trace."""
    if attention_mask is None or attention_mask.dim() != 2:
        raise NotFusible("no padding mask of shape (batch, tokens)")
    added = [name for name, value in extra.items() if isinstance(value, torch.Tensor)]
    if any(name in added for name in ("position_bias", "relative_position", "s_aux", "head_mask", "softcap")):
        raise NotFusible(f"attention with {', '.join(added)}")
    scale = query.shape[-1] ** -0.5 if scaling is None else float(scaling)
    return _Attention.apply(query, key, value, attention_mask, int(query.shape[1]), scale), None


def _padding_mask(*, attention_mask: torch.Tensor | None = None, mask_function: Any = None, **_: Any) -> Any:
    """The mask function that transformers calls during the trace: the padding mask as it came, ``(batch,
    tokens)``."""
    from transformers.masking_utils import bidirectional_mask_function

    if mask_function is not bidirectional_mask_function:
        raise NotFusible("a mask that depends on positions")
    return attention_mask


@contextmanager
def _registered() -> Iterator[None]:
    """Let transformers know our attention and mask functions while a model is traced, and forget them afterwards."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(_NAME, _attend)
    AttentionMaskInterface.register(_NAME, _padding_mask)
    try:
        yield
    finally:
        # transformers has no way to take a function back but its own table.
        AttentionInterface._global_mapping.pop(_NAME, None)
        AttentionMaskInterface._global_mapping.pop(_NAME, None)


def trace(model: Any, names: Sequence[str], *, fused: bool) -> onnx.ModelProto:
    """The graph of a sequence classifier with dynamic batch and sequence axes.

    Args:
        model: a ``transformers`` sequence classifier; its mode and attention implementation are put back
            afterwards.
        names: the inputs, in order (see :func:`input_names`).
        fused: write attention as one node.

    Returns:
        The graph, inputs ``names`` of shape ``(batch, sequence)``, output ``logits`` of shape ``(batch,
        labels)``.

    Raises:
        NotFusible: ``fused`` was asked for and the model's attention is of another kind.
    """
    with _registered(), attention_as(model, _NAME if fused else "eager"):
        graph = _export(Logits(model, names).eval(), model, names, fused)
    if fused and not any(node.domain == DOMAIN for node in graph.graph.node):
        raise NotFusible("the model does not use transformers' attention interface")
    return graph


def _export(wrapper: nn.Module, model: Any, names: Sequence[str], fused: bool) -> onnx.ModelProto:
    vocabulary = int(model.config.vocab_size)
    ids = torch.randint(min(5, vocabulary - 1), vocabulary, (2, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    values = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    axes = {name: {0: "batch", 1: "sequence"} for name in names}
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            wrapper,
            tuple(values[name] for name in names),
            buffer,
            input_names=list(names),
            output_names=["logits"],
            dynamic_axes={**axes, "logits": {0: "batch"}},
            opset_version=OPSET,
            custom_opsets={DOMAIN: 1} if fused else None,
            do_constant_folding=True,
            dynamo=False,
        )
    return onnx.load_from_string(buffer.getvalue())
