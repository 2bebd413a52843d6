"""Dynamic int8 lowering of an ONNX graph: weights in int8 per output channel, activations quantised at run
time.

A weight is stored as q = round(w / s) with one scale s per output channel (symmetric, zero point 0); the
activation of a product is quantised per tensor to unsigned 8 bits, the sum runs in int32 and is scaled back
to float by s_x · s_w (Jacob et al. 2018, section 2). Embedding tables are stored per row, and only the rows
that a text needs are scaled back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from imbik.onnx_graph import Graph, attribute, microsoft

SMALL_TABLE = 4096
"""Tables of fewer values stay in float: there is nothing to gain."""


def quantise(values: NDArray[Any], axis: int, bits: int = 8) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric integers and their scales, one scale per index of ``axis``.

    Returns:
        ``(q, scale)`` with ``values ≈ q * scale``; ``scale`` keeps its dimensions for broadcasting.

    >>> q, scale = quantise(np.array([[1.0, -4.0], [0.5, 2.0]], dtype=np.float32), axis=1)
    >>> q.tolist(), scale.shape
    ([[127, -127], [64, 64]], (1, 2))
    """
    top = 2 ** (bits - 1) - 1
    others = tuple(index for index in range(values.ndim) if index != axis)
    scale = np.abs(values).max(axis=others, keepdims=True).astype(np.float32) / top
    scale = np.where(scale > 0, scale, np.float32(1.0))
    return np.clip(np.rint(values / scale), -top, top).astype(np.int8), scale.astype(np.float32)


def lower_products(graph: Graph, bits: int = 8) -> int:
    """Every product with a constant weight runs in int8 from now on; returns how many.

    Args:
        bits: 8, or 7 on a CPU whose 8-bit multiply-add saturates at 16 bits (AVX2 or AVX-512 without VNNI).
    """
    stored: dict[tuple[str, bool], tuple[str, str]] = {}
    lowered = 0
    for node in list(graph.nodes):
        found = _weight_of(graph, node)
        if found is None:
            continue
        weight, transposed = found
        if (weight, transposed) not in stored:
            matrix = graph.constants[weight].T if transposed else graph.constants[weight]
            q, scale = quantise(matrix, axis=1, bits=bits)
            stored[weight, transposed] = graph.constant("int8", q), graph.constant("scale", scale.reshape(-1))
        bias, replaced = _bias_of(graph, node)
        inputs = [node.input[0], *stored[weight, transposed], "", bias] if bias else [node.input[0], *stored[weight, transposed]]
        output = replaced[-1].output[0]
        new = microsoft("DynamicQuantizeMatMul", inputs, [output], graph.name("int8_product"))
        graph.replace(replaced, [new])
        lowered += 1
    return lowered


def _weight_of(graph: Graph, node: onnx.NodeProto) -> tuple[str, bool] | None:
    """The constant matrix that a product multiplies by, and whether it is stored as (out, in)."""
    if node.op_type not in ("MatMul", "Gemm") or node.input[1] not in graph.constants:
        return None
    value = graph.constants[node.input[1]]
    if value.ndim != 2 or value.dtype != np.float32:
        return None
    if node.op_type == "MatMul":
        return node.input[1], False
    plain = attribute(node, "alpha", 1.0) == 1.0 and attribute(node, "beta", 1.0) == 1.0 and not attribute(node, "transA", 0)
    return (node.input[1], bool(attribute(node, "transB", 0))) if plain else None


def _bias_of(graph: Graph, node: onnx.NodeProto) -> tuple[str | None, list[onnx.NodeProto]]:
    """The bias that belongs to a product, and the nodes that the int8 product replaces."""
    width = graph.constants[node.input[1]].shape[0 if node.op_type == "Gemm" and attribute(node, "transB", 0) else 1]
    if node.op_type == "Gemm":
        bias = node.input[2] if len(node.input) > 2 else None
        return (bias, [node]) if bias is None or graph.constants[bias].shape == (width,) else (None, [node])
    readers = graph.consumers(node.output[0])
    if len(readers) != 1 or readers[0].op_type != "Add" or node.output[0] in graph.outputs:
        return None, [node]
    bias = next((name for name in readers[0].input if name in graph.constants), None)
    if bias is None or graph.constants[bias].shape != (width,):
        return None, [node]
    return bias, [node, readers[0]]


def lower_tables(graph: Graph, bits: int = 8) -> int:
    """Embedding tables become int8 with one scale per row; returns how many.

    ``Gather(table, ids)`` becomes ``Cast(Gather(q, ids)) * Gather(scale, ids)``: the float table never
    exists, on disk or in memory.
    """
    lowered = 0
    for node in list(graph.nodes):
        if node.op_type != "Gather" or attribute(node, "axis", 0) != 0 or node.input[0] not in graph.constants:
            continue
        table = graph.constants[node.input[0]]
        if table.ndim != 2 or table.dtype != np.float32 or table.size < SMALL_TABLE:
            continue
        q, scale = quantise(table, axis=0, bits=bits)
        rows, floats, scales = graph.name("rows"), graph.name("floats"), graph.name("scales")
        ids = node.input[1]
        nodes = [
            helper.make_node("Gather", [graph.constant("table", q), ids], [rows], name=rows, axis=0),
            helper.make_node("Cast", [rows], [floats], name=floats, to=onnx.TensorProto.FLOAT),
            helper.make_node("Gather", [graph.constant("scale", scale), ids], [scales], name=scales, axis=0),
            helper.make_node("Mul", [floats, scales], [node.output[0]], name=graph.name("table")),
        ]
        graph.replace([node], nodes)
        lowered += 1
    return lowered
