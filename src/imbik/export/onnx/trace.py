"""Trace: PyTorch model -> plain ONNX graph.

transformers lets a program register its own attention function. During the trace we register one
that becomes a single graph node, ``imbik::Attention(query, key, value, mask)``, so that fusing
attention does not depend on recognizing the dozens of nodes that one architecture or one version
happens to write. Models that do not use the attention interface, or that add something to the
attention scores, are traced with their own eager attention.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from imbik.images.settings import PIXELS
from imbik.models.inputs import Logits, attention_as, probe_of, reads_images
from imbik.tasks.outputs import Output

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OPSET = 17
"""First opset with LayerNormalization as one operator."""

DOMAIN = "imbik"
"""Operator domain of the attention node; :mod:`imbik.export.onnx.fuse` replaces it, no file holds it."""

_NAME = "imbik_export"


class NotFusible(Exception):
    """Attention of the model is more than softmax(QKᵀ·scale + padding)·V."""


class _TracedGraph(Protocol):
    """Graph that the exporter writes, as far as a symbolic function uses it."""

    def op(self, name: str, *inputs: torch.Value, **attributes: float) -> torch.Value:
        """Append an operator; return its output."""


class _Attention(torch.autograd.Function):  # type: ignore[misc]
    """Attention that the exporter writes as one node.

    Query, key, value ``(B, N, T, D)``, mask ``(B, T)`` -> ``(B, T, N, D)``.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, heads: int, scale: float) -> Tensor:
        # (B, T) -> (B, 1, 1, T), broadcast over heads and queries.
        keep = mask[:, None, None, :].to(torch.bool)
        out = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=keep, scale=scale)
        # (B, N, T, D) -> (B, T, N, D), as transformers wants it back.
        return out.transpose(1, 2).contiguous()

    @staticmethod
    def symbolic(
        g: _TracedGraph, query: torch.Value, key: torch.Value, value: torch.Value, mask: torch.Value, heads: int, scale: float
    ) -> torch.Value:
        node = g.op(f"{DOMAIN}::Attention", query, key, value, mask, num_heads_i=heads, scale_f=scale)
        # Rank 4, no fixed sizes: the exporter cannot infer the shape of an operator it does not
        # know.
        return node.setType(query.type().with_sizes([None, None, None, None]))


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **extra: object,
) -> tuple[Tensor, None]:
    """Compute attention during the trace, in the place of what transformers calls.

    Raises:
        NotFusible: there is no plain padding mask, or something is added to the scores.
    """
    if attention_mask is None or attention_mask.dim() != 2:
        raise NotFusible("no padding mask of shape (batch, tokens)")
    # Only tensors are suspicious: flags and numbers come with every call.
    added = [name for name, value in extra.items() if isinstance(value, Tensor)]
    if any(name in added for name in ("position_bias", "relative_position", "s_aux", "head_mask", "softcap")):
        raise NotFusible(f"attention with {', '.join(added)}")
    scale = query.shape[-1] ** -0.5 if scaling is None else float(scaling)
    return _Attention.apply(query, key, value, attention_mask, int(query.shape[1]), scale), None


def _padding_mask(*, attention_mask: Tensor | None = None, mask_function: Callable[..., Any] | None = None, **_: object) -> Tensor | None:
    """Return the padding mask as it came, ``(B, T)``, in the place of what transformers makes.

    Raises:
        NotFusible: the mask depends on positions.
    """
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


def trace(model: PreTrainedModel, names: Sequence[str], kinds: Sequence[Output], *, fused: bool) -> onnx.ModelProto:
    """Trace a model, with dynamic batch and sequence axes.

    Args:
        model: a ``transformers`` model; its mode and attention implementation are put
            back afterwards.
        names: the inputs, in order (see :func:`input_names`).
        kinds: what its task asks of it.
        fused: write attention as one node.

    Returns:
        The graph, inputs ``names`` of shape ``(batch, sequence)``, an output of each kind's name:
        ``(batch, labels)``, ``(batch, sequence, labels)``.

    Raises:
        NotFusible: ``fused`` was asked for and the model's attention is of another kind.
    """
    with _registered(), attention_as(model, _NAME if fused else "eager"):
        graph = _export(Logits(model, names, [kind.name for kind in kinds]).eval(), model, names, kinds, fused)
    if fused and not any(node.domain == DOMAIN for node in graph.graph.node):
        raise NotFusible("the model does not use transformers' attention interface")
    return graph


def _export(wrapper: nn.Module, model: PreTrainedModel, names: Sequence[str], kinds: Sequence[Output], fused: bool) -> onnx.ModelProto:
    """Run the exporter on two random rows; of texts the second is padded, so that nothing about the mask is folded into constants."""
    values = {name: torch.from_numpy(array) for name, array in random_rows(model, 2, 9).items()}
    axes = {name: {0: "batch"} if name == PIXELS else {0: "batch", 1: "sequence"} for name in names}
    axes |= {kind.name: {0: "batch", 1: "sequence"} if kind.per_token else {0: "batch"} for kind in kinds}
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            wrapper,
            tuple(values[name] for name in names),
            buffer,
            input_names=list(names),
            output_names=[kind.name for kind in kinds],
            dynamic_axes=axes,
            opset_version=OPSET,
            custom_opsets={DOMAIN: 1} if fused else None,
            do_constant_folding=True,
            # The dynamo exporter knows no symbolic of ours: attention would be dozens of nodes
            # again.
            dynamo=False,
        )
    return onnx.load_from_string(buffer.getvalue())


def random_rows(model: PreTrainedModel, batch: int, length: int, first: int | None = None) -> dict[str, NDArray[Any]]:
    """Draw inputs of a model: of so many tokens, or images of the size that it reads.

    Args:
        model: any.
        batch, length, first: see :func:`random_batch`.
    """
    if reads_images(model):
        shape = probe_of(model)[PIXELS].shape[1:]
        return {PIXELS: np.random.default_rng(length).standard_normal((batch, *shape)).astype(np.float32)}
    return dict(random_batch(batch, length, int(model.config.vocab_size), first))


def random_batch(batch: int, length: int, vocabulary: int, first: int | None = None) -> dict[str, NDArray[np.int64]]:
    """Draw inputs ``(B, T)`` of a model by their length; the row in the middle is padded.

    Args:
        batch, length: B and T.
        vocabulary: ids are below it.
        first: what every row begins with, as the tokenizer writes it; None: any id.
    """
    generator = np.random.default_rng(length)
    # From 5 on: the first ids are usually special tokens, the padding among them.
    ids = generator.integers(min(5, vocabulary - 1), vocabulary, (batch, length))
    if first is not None:
        ids[:, 0] = first
    mask = np.ones_like(ids)
    mask[batch // 2, max(1, length - 3) :] = 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
