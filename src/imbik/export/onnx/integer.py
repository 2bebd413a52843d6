"""Linear layers in integer arithmetic from end to end.

Integers in, integers out, requantized by M0 · 2^-n (:mod:`imbik.quantization.integer`). Per
product: q_y = clip(round((Σ (q_x - Z_x) q_w + q_b) · M0 · 2^-n) + Z_y). What stands between
products (softmax, LayerNorm, GELU, the products of attention without a weight) has no integer
kernel in onnxruntime and remains in float.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from imbik.export.onnx.graph import Graph
from imbik.export.onnx.int8 import Inputs, Weights
from imbik.export.onnx.operators import Product
from imbik.quantization.integer import affine, fixed_point
from imbik.quantization.ranges import Ranges

_INTEGER = ("imbik.fixed.", "imbik.biased.")
"""Stems of the additions and multiplications of the requantization, which are in integers."""

REASONS = {
    "MultiHeadAttention": "softmax needs exponentials; both products of attention multiply activations, not weights",
    "Softmax": "exponentials",
    "LayerNormalization": "mean, variance and square root over each token",
    "SkipLayerNormalization": "mean, variance and square root over each token, and the residual sum before them",
    "Gelu": "the error function",
    "BiasGelu": "the error function",
    "FastGelu": "the hyperbolic tangent",
    "LSTM": "the exponentials of its gates",
    "Tanh": "the hyperbolic tangent of the pooler",
    "Erf": "the error function",
    "Relu": "cheap on floats that are there anyway",
    "Add": "sums of embeddings or residuals, cheap on floats that are there anyway",
    "Mul": "scales of embedding rows",
    "MatMul": "a product that was put back to float, or of two activations",
    "Gemm": "a product that was put back to float",
}


def lower_integer(graph: Graph, product: Product, weights: Weights, quantized: Inputs, ranges: Ranges) -> None:
    """Lower a product, its bias and its requantization to integers.

    What follows reads the result as float again.
    """
    (x, _, zero), nodes = quantized.names(product)
    scale, _ = quantized.range(product)
    weight, _ = weights.names(product)
    # (N,) S_x S_w: what one unit of the int32 sum is worth.
    sums = (scale.astype(np.float64) * weights.integers(product)[1]).astype(np.float64)
    out_scale, out_zero = _outputs(product, ranges)
    total = _accumulate(graph, product, (x, weight, zero), sums, nodes)
    shifted = graph.name("requantized")
    _requantize(graph, total, shifted, sums / out_scale, out_zero, nodes)
    back = [graph.constant("scale", out_scale), graph.constant("zero", out_zero.astype(np.uint8))]
    nodes.append(helper.make_node("DequantizeLinear", [shifted, *back], [product.output], name=product.node.name, axis=-1))
    graph.replace(product.replaced, nodes)


def _outputs(product: Product, ranges: Ranges) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return scale and zero point of every output column, ``(N,)`` each.

    Parts of a merged product have their own.
    """
    parts = [(affine(*ranges[name]["output"]), width) for name, width in product.parts]
    scale = np.concatenate([np.full(width, scale, dtype=np.float32) for (scale, _), width in parts])
    return scale, np.concatenate([np.full(width, zero, dtype=np.int64) for (_, zero), width in parts])


def _accumulate(
    graph: Graph, product: Product, inputs: tuple[str, str, str], sums: NDArray[np.float64], nodes: list[onnx.NodeProto]
) -> str:
    """Append int32 sums, bias included, to ``nodes``; return their name.

    The bias is q_b = round(b / (S_x S_w)).
    """
    total = graph.name("sums")
    nodes.append(helper.make_node("MatMulInteger", list(inputs), [total], name=total))
    if product.bias is None:
        return total
    # A bias beyond 2^30 is beyond any output range as well, and half of int32 is left for the sums.
    limit = 2.0**30
    bias = np.clip(np.rint(graph.constants[product.bias] / sums), -limit, limit).astype(np.int32)
    with_bias = graph.name("biased")
    nodes.append(helper.make_node("Add", [total, graph.constant("bias", bias)], [with_bias], name=with_bias))
    return with_bias


def _requantize(
    graph: Graph, total: str, out: str, multiplier: NDArray[np.float64], zero: NDArray[np.int64], nodes: list[onnx.NodeProto]
) -> None:
    """Append :func:`imbik.quantization.integer.requantize` in ONNX to ``nodes``.

    Z · 2^n and half a unit are added before the shift, so that one addition does both.
    """
    m0, n = fixed_point(multiplier)
    # ((acc M0) >> n) + Z = (acc M0 + (Z << n)) >> n, and the same for the half unit.
    offset = (zero << n) + (np.int64(1) << (n - 1))

    def node(op: str, inputs: list[str], **attributes: int) -> str:
        name = graph.name("fixed")
        nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    # acc · M0 takes up to 62 bits.
    wide = node("Cast", [total], to=onnx.TensorProto.INT64)
    moved = node("Add", [node("Mul", [wide, graph.constant("m0", m0)]), graph.constant("offset", offset)])
    # BitShift takes unsigned integers only; what is negative would be clipped to 0 anyway.
    positive = node("Cast", [node("Max", [moved, graph.constant("least", np.array(0, dtype=np.int64))])], to=onnx.TensorProto.UINT64)
    down = helper.make_node("BitShift", [positive, graph.constant("n", n.astype(np.uint64))], [graph.name("fixed")], direction="RIGHT")
    down.name = down.output[0]
    nodes.append(down)
    most = node("Min", [down.output[0], graph.constant("most", np.array(255, dtype=np.uint64))])
    nodes.append(helper.make_node("Cast", [most], [out], name=out, to=onnx.TensorProto.UINT8))


def float_operators(model: onnx.ModelProto) -> dict[str, dict[str, str | int]]:
    """Count the operators that still compute in float, and say why."""
    operators: dict[str, dict[str, str | int]] = {}
    for node in model.graph.node:
        if node.op_type in REASONS and not node.name.startswith(_INTEGER):
            entry = operators.setdefault(node.op_type, {"count": 0, "why": REASONS[node.op_type]})
            entry["count"] = int(entry["count"]) + 1
    return operators
