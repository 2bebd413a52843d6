"""Exact rewrites of a traced encoder: the same function, fewer and larger operations."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper

from imbik.export.onnx.graph import Graph, attribute, microsoft
from imbik.export.onnx.trace import DOMAIN, NotFusible

_log = logging.getLogger(__name__)

# Operators that treat every token on its own: their first token needs the first token alone. Of
# LayerNormalization, MatMul and operators with constants that holds in some cases: _tokenwise.
_TOKENWISE = frozenset(
    {"Add", "Sub", "Mul", "Div", "Pow", "Sqrt", "Erf", "Tanh", "Relu", "Sigmoid", "Cast", "Gelu", "Identity"}
    | {"LayerNormalization", "MatMul", "Where", "Clip", "Neg", "Exp", "Softplus"}
)


def fuse_attention(graph: Graph) -> int:
    """Turn each ``imbik::Attention`` into onnxruntime's MultiHeadAttention.

    It works on ``(B, T, H)`` tensors. Returns how many there were.

    Raises:
        NotFusible: the tensors around an attention node are not laid out as ``(B, T, N, D)`` views
            of ``(B, T, H)``.
    """
    attentions = [node for node in graph.nodes if node.domain == DOMAIN]
    if not attentions:
        return 0
    mask = graph.name("mask")
    # MultiHeadAttention takes the padding mask (B, T) as int32; one cast serves all layers.
    graph.nodes.insert(0, helper.make_node("Cast", ["attention_mask"], [mask], name=mask, to=onnx.TensorProto.INT32))
    for node in attentions:
        # The node splits heads by itself: (B, N, T, D) three times -> (B, T, H) three times.
        query, key, value = (_flat_input(graph, name) for name in node.input[:3])
        flat = _flat_output(graph, node)
        fused = microsoft(
            "MultiHeadAttention",
            [query, key, value, "", mask],
            [flat.output[0]],
            graph.name("attention"),
            num_heads=attribute(node, "num_heads"),
            scale=attribute(node, "scale"),
        )
        graph.replace([node, flat], [fused])
    return len(attentions)


def _flat_input(graph: Graph, name: str) -> str:
    """Return the tensor ``(B, T, H)`` that ``name`` ``(B, N, T, D)`` is a view of.

    ``(B, N, T, D)`` <- Transpose <- ``(B, T, N, D)`` <- Reshape <- ``(B, T, H)``, with H = N · D.
    """
    transpose = graph.producer(name)
    if transpose is None or transpose.op_type != "Transpose" or list(attribute(transpose, "perm")) != [0, 2, 1, 3]:
        raise NotFusible(f"{name} is not a transposed view of the tokens")
    reshape = graph.producer(transpose.input[0])
    if reshape is None or reshape.op_type != "Reshape":
        raise NotFusible(f"{name} is not a view of the tokens")
    return str(reshape.input[0])


def _flat_output(graph: Graph, node: onnx.NodeProto) -> onnx.NodeProto:
    """Return the Reshape that turns the attention's ``(B, T, N, D)`` into ``(B, T, H)``."""
    readers = graph.consumers(node.output[0])
    if len(readers) != 1 or readers[0].op_type != "Reshape":
        raise NotFusible("the attention's output is not flattened")
    return readers[0]


def keep_first_token(graph: Graph) -> list[onnx.NodeProto]:
    """Compute the last layer for the first token only, where only that one is classified.

    Returns the nodes that this saved work, in the order of execution.

    Keys and values still see all tokens; the query, the output projection and the feed-forward
    block, five sixths of a layer's work, are needed for one token. Exact: every other token's
    result was thrown away.
    """
    picks = [node for node in graph.nodes if _picks_first(graph, node)]
    # Two picks, or none: some result besides the first token is used.
    if len(picks) != 1:
        return []
    cone = _cone(graph, picks[0])
    inside = {node.output[0] for node in cone}
    sliced: dict[str, str] = {}
    new: list[onnx.NodeProto] = []
    # Slice from 0 to 1 on axis 1: (B, T, H) -> (B, 1, H). The pick reads (B, 1, H) as well as (B,
    # T, H).
    bounds = [graph.constant("slice", np.array([number], dtype=np.int64)) for number in (0, 1, 1)]
    for node in cone:
        for position in _data_inputs(graph, node):
            name = node.input[position]
            # What the cone makes has one token already; what enters it is cut, once.
            if name in inside:
                continue
            if name not in sliced:
                sliced[name] = graph.name("first")
                new.append(helper.make_node("Slice", [name, *bounds], [sliced[name]], name=sliced[name]))
            node.input[position] = sliced[name]
    graph.nodes.extend(new)
    return cone[::-1]


def _picks_first(graph: Graph, node: onnx.NodeProto) -> bool:
    """Return whether a node is a Gather of the first token, ``(B, T, H)`` -> ``(B, H)``."""
    if node.op_type != "Gather" or attribute(node, "axis", 0) != 1 or node.input[1] not in graph.constants:
        return False
    index = graph.constants[node.input[1]]
    return index.size == 1 and int(index.reshape(())) == 0


def _cone(graph: Graph, pick: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Return the nodes before ``pick`` whose result is needed for the first token only.

    The last one first.
    """
    inside = {id(pick)}
    cone = []
    wanted = {pick.input[0]}
    graph.drop_unused()
    graph.sort()
    # Backwards in execution order, so that all readers of a tensor are judged before its maker.
    for node in reversed(graph.nodes):
        if node.output[0] not in wanted or node.output[0] in graph.outputs or not _tokenwise(graph, node):
            continue
        readers = graph.consumers(node.output[0])
        # Every reader needs the first token alone, or the node must compute all.
        if all(id(reader) in inside and node.output[0] not in _whole_inputs(reader) for reader in readers):
            inside.add(id(node))
            cone.append(node)
            wanted.update(node.input[position] for position in _data_inputs(graph, node))
    return cone


def _whole_inputs(node: onnx.NodeProto) -> Sequence[str]:
    """Return the inputs needed for all tokens: an attention's keys, values and mask."""
    return list(node.input[1:]) if node.op_type == "MultiHeadAttention" else []


def _data_inputs(graph: Graph, node: onnx.NodeProto) -> list[int]:
    """Return the positions of the inputs that are cut to the first token."""
    if node.op_type == "MultiHeadAttention":
        return [0]
    return [index for index, name in enumerate(node.input) if name and name not in graph.constants]


def _tokenwise(graph: Graph, node: onnx.NodeProto) -> bool:
    """Return whether a node treats every token on its own.

    So that computing one token needs that token only.
    """
    if node.op_type == "MultiHeadAttention":
        return True
    if node.op_type not in _TOKENWISE:
        return False
    constants = [graph.constants[name] for name in node.input if name in graph.constants]
    if node.op_type == "MatMul":
        # (B, T, K) @ (K, N); a product of two activations mixes tokens.
        return node.input[1] in graph.constants and constants[0].ndim == 2
    if node.op_type == "LayerNormalization" and attribute(node, "axis", -1) not in (-1, 2):
        return False
    # A constant with a length of its own on the axis of tokens (positions) is not tokenwise.
    return all(value.ndim < 2 or value.shape[-2] == 1 for value in constants)


def fuse_pointwise(graph: Graph, model_type: str = "bert", *, bias: bool = True) -> Graph:
    """Fuse LayerNorm into one operator, and GELU with its bias.

    These are onnxruntime's own fusions, without those that quantize badly or run slower
    (:func:`imbik.export.onnx.sums.plain_sums`). Without ``bias`` a product's bias stays beside it.
    """
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.onnx_model_bert import BertOnnxModel

    options = FusionOptions(model_type)
    # Attention is fused already; a fused embedding layer hides the tables from int8.
    options.enable_attention = False
    options.enable_embed_layer_norm = False
    options.enable_skip_layer_norm = options.enable_bias_skip_layer_norm = False
    options.enable_bias_gelu = bias
    logging.getLogger("onnxruntime.transformers").setLevel(logging.ERROR)
    fused = BertOnnxModel(graph.finish())
    # where it cannot infer the shapes of a graph, as of one without layers, it goes on without them, and prints so
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        fused.optimize(options)
    if printed.getvalue():
        _log.debug("onnxruntime: %s", printed.getvalue().strip())
    return Graph(fused.model)
