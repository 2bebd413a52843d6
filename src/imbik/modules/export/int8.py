"""A traced graph whose weights lie on the grids of int8 -> a graph that stores and computes them as integers.

Rounded values come as ``QuantizeLinear`` and ``DequantizeLinear``, which onnxruntime and OpenVINO fuse into integer kernels; rounded
weights become int8 constants behind ``DequantizeLinear``. What is stored comes back as it was rounded: nothing is approximated here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from imbik.export.onnx.graph import Graph, attribute, fold_constants, microsoft
from imbik.export.onnx.int8 import lower_table
from imbik.export.onnx.operators import tables
from imbik.export.onnx.recurrent import Stored, lower_lstm, store_weights
from imbik.quantization.integer import symmetric

_PRODUCTS = ("Conv", "Gemm", "MatMul")
_OWN = ("DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "MatMulIntegerToFloat")


def lower_rounded(graph: Graph, fused: bool) -> dict[str, int]:
    """Turn rounded weights into integers.

    Args:
        graph: it is changed.
        fused: onnxruntime runs it: a Linear whose values are rounded at run time, and an LSTM, become operators of its own.

    Returns:
        ``int8_ops`` (products with int8 weights), ``float_ops`` (products with float ones) and ``stored`` (tables and recurrent weights
        that are int8 in the file alone).
    """
    _store_weights(graph)
    for node in [node for node in graph.nodes if node.op_type in _PRODUCTS]:
        _turn(graph, node)
        if node.op_type == "Conv":
            _store_bias(graph, node)
    fold_constants(graph)
    stored = _lower_tables(graph)
    for node in [node for node in graph.nodes if node.op_type in ("LSTM", "GRU", "RNN")]:
        stored += _lower_recurrent(graph, node, fused)
    if fused:
        for node in [node for node in graph.nodes if node.op_type in ("Gemm", "MatMul")]:
            _lower_product(graph, node)
    producers = graph.producers()
    weights = [_weight(graph, producers, node) for node in graph.nodes if node.op_type in _PRODUCTS]
    own = sum(node.op_type in _OWN for node in graph.nodes)
    return {"int8_ops": weights.count("int8") + own, "float_ops": weights.count("float"), "stored": stored}


def _weight(graph: Graph, producers: dict[str, onnx.NodeProto], node: onnx.NodeProto) -> str | None:
    """Return what kind of constant a product multiplies by: ``int8``, ``float`` or None."""
    source = producers.get(node.input[1])
    if source is not None and source.op_type == "DequantizeLinear" and source.input[0] in graph.constants:
        return "int8"
    return "float" if node.input[1] in graph.constants else None


def _store_weights(graph: Graph) -> None:
    """Round constants here that the graph would round at run time: q = clip(round(w / s))."""
    for node in [node for node in graph.nodes if node.op_type == "QuantizeLinear" and node.input[0] in graph.constants]:
        values, scale = graph.constants[node.input[0]], graph.constants[node.input[1]]
        axis = attribute(node, "axis", 1)
        shape = [1] * values.ndim
        if scale.ndim:
            shape[axis] = -1
        q = np.clip(np.rint(values / scale.reshape(shape)), -128, 127).astype(np.int8)
        graph.rename(node.output[0], graph.constant("int8", q))
        graph.nodes.remove(node)
    # without a zero point, which is 0: OpenVINO and onnxruntime then know that the weights are symmetric
    for node in graph.nodes:
        if node.op_type == "DequantizeLinear" and node.input[0] in graph.constants:
            del node.input[2:]


def _turn(graph: Graph, node: onnx.NodeProto) -> None:
    """Store a matrix as a product reads it, ``(K, N)``, where it is turned after it was restored."""
    producers = graph.producers()
    source = producers.get(node.input[1])
    turned = source is not None and source.op_type == "Transpose"
    restore = producers.get(source.input[0]) if source is not None and turned else source
    if restore is None or restore.op_type != "DequantizeLinear" or restore.input[0] not in graph.constants:
        return
    by_attribute = node.op_type == "Gemm" and attribute(node, "transB", 0) == 1
    if not turned and not by_attribute:
        return
    name = graph.name("restored")
    q = graph.constant("int8", graph.constants[restore.input[0]].T)
    new = helper.make_node("DequantizeLinear", [q, restore.input[1]], [name], name=name, axis=1)
    if by_attribute:
        kept = [entry for entry in node.attribute if entry.name != "transB"]
        del node.attribute[:]
        node.attribute.extend(kept)
    node.input[1] = name
    graph.nodes.insert(graph.nodes.index(node), new)


def _store_bias(graph: Graph, node: onnx.NodeProto) -> None:
    """Store a bias in 32 bits at the scale of the sums, S_x S_w, without which onnxruntime leaves the product in float."""
    producers = graph.producers()
    x, weight = producers.get(node.input[0]), producers.get(node.input[1])
    both = x is not None and weight is not None and x.op_type == weight.op_type == "DequantizeLinear"
    if not both or len(node.input) < 3 or node.input[2] not in graph.constants or weight is None or x is None:
        return
    bias: NDArray[Any] = graph.constants[node.input[2]]
    scale = (graph.constants[x.input[1]] * graph.constants[weight.input[1]]).astype(np.float32).reshape(-1)
    limit = 2.0**30
    q = np.clip(np.rint(bias / scale), -limit, limit).astype(np.int32)
    name = graph.name("bias")
    stored = [graph.constant("int32", q), graph.constant("scale", np.broadcast_to(scale, q.shape))]
    graph.nodes.insert(graph.nodes.index(node), helper.make_node("DequantizeLinear", stored, [name], name=name, axis=0))
    node.input[2] = name


def on_grid(matrix: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.float32]] | None:
    """Return the integers ``(R, C)`` and one scale per row of a matrix that was rounded to 8 or 7 bits; None for any other.

    >>> q, scale = symmetric(np.array([[0.3, -1.0], [0.5, 0.2]], np.float32), axis=0)
    >>> found = on_grid(q * scale)
    >>> bool((found[0] == q).all()), on_grid(np.array([[0.3, -1.0]], np.float32)) is None
    (True, True)
    """
    for bits in (8, 7):
        q, scale = symmetric(matrix, axis=0, bits=bits)
        if np.abs(matrix - q * scale).max(initial=0.0) <= 1e-6 * np.abs(matrix).max(initial=0.0):
            return q, scale.reshape(-1)
    return None


def _lower_tables(graph: Graph) -> int:
    """Store rounded embedding tables in int8; return how many."""
    found = [table for table in tables(graph) if on_grid(table.values) is not None]
    for table in found:
        lower_table(graph, table)
    return len(found)


def _lower_recurrent(graph: Graph, node: onnx.NodeProto, fused: bool) -> int:
    """Store rounded weights of a recurrent layer in int8; return 1 where they are computed with in float.

    onnxruntime has an int8 kernel of the LSTM alone, which rounds what it reads at run time.
    """
    parts: list[Stored] = []
    for matrix in (graph.constants[name] for name in node.input[1:3] if name in graph.constants):
        # (D, 4 H, n): one scale for each row of each direction
        found = on_grid(matrix.reshape(-1, matrix.shape[-1]))
        if found is not None:
            parts.append((found[0].reshape(matrix.shape), found[1].reshape(len(matrix), -1)))
    # OpenVINO wants the weights of its other recurrent layers as they are
    if len(parts) < 2 or (not fused and node.op_type != "LSTM"):
        return 0
    if fused and node.op_type == "LSTM":
        lower_lstm(graph, node, parts)
        return 0
    store_weights(graph, node, parts)
    return 1


def _lower_product(graph: Graph, node: onnx.NodeProto) -> None:
    """Let onnxruntime's own operator compute a product with int8 weights: with values that are rounded before, or at run time."""
    producers = graph.producers()
    x, weight = producers.get(node.input[0]), producers.get(node.input[1])
    if weight is None or weight.op_type != "DequantizeLinear" or weight.input[0] not in graph.constants:
        return
    stored, scale, bias = weight.input[0], graph.constant("scale", np.atleast_1d(graph.constants[weight.input[1]])), node.input[2:3]
    if x is not None and x.op_type == "DequantizeLinear":
        inputs = [x.input[0], stored, x.input[1], scale, x.input[2], "", *bias]
        graph.replace([node], [microsoft("MatMulIntegerToFloat", inputs, list(node.output), node.name)])
    else:
        graph.replace([node], [microsoft("DynamicQuantizeMatMul", [node.input[0], stored, scale, "", *bias], list(node.output), node.name)])
