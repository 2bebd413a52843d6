"""Linear layers in integer arithmetic from end to end.

Integers in, integers out, requantized by M0 · 2^-n (:mod:`imbik.quantization.integer`). Per product:
q_y = clip(round((Σ (q_x - Z_x) q_w + q_b) · M0 · 2^-n) + Z_y). What stands between products (softmax, LayerNorm, GELU, the products
of attention without a weight) has no integer kernel in onnxruntime and remains in float.
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

_OURS = ("imbik.fixed.", "imbik.biased.")  # integer additions and multiplications of the requantization

REASONS = {
    "MultiHeadAttention": "softmax needs exponentials; both products of attention multiply activations, not weights",
    "Softmax": "exponentials",
    "LayerNormalization": "mean, variance and square root over each token",
    "SkipLayerNormalization": "mean, variance and square root over each token, and the residual sum before them",
    "Gelu": "the error function",
    "BiasGelu": "the error function",
    "FastGelu": "the hyperbolic tangent",
    "Tanh": "the hyperbolic tangent of the pooler",
    "Erf": "the error function",
    "Relu": "cheap on floats that are there anyway",
    "Add": "sums of embeddings or residuals, cheap on floats that are there anyway",
    "Mul": "scales of embedding rows",
    "MatMul": "a product that was put back to float, or of two activations",
    "Gemm": "a product that was put back to float",
}


def lower_integer(graph: Graph, product: Product, weights: Weights, quantized: Inputs, ranges: Ranges) -> None:
    """A product, its bias and its requantization in integers; what follows reads the result as float again."""
    (x, _, zero), nodes = quantized.names(product)
    scale, _ = quantized.range(product)
    weight, _ = weights.names(product)
    sums = (scale.astype(np.float64) * weights.integers(product)[1]).astype(np.float64)
    out_scale, out_zero = _outputs(product, ranges)
    total, shifted = _accumulated(graph, product, (x, weight, zero), sums, nodes), graph.name("requantized")
    _requantized(graph, total, shifted, sums / out_scale, out_zero, nodes)
    back = [graph.constant("scale", out_scale), graph.constant("zero", out_zero.astype(np.uint8))]
    nodes.append(helper.make_node("DequantizeLinear", [shifted, *back], [product.output], name=product.node.name, axis=-1))
    graph.replace(product.replaced, nodes)


def _outputs(product: Product, ranges: Ranges) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Scale and zero point of every output column, ``(N,)`` each; parts of a merged product have their own."""
    found = [(affine(*ranges[name]["output"]), width) for name, width in product.parts]
    scale = np.concatenate([np.full(width, scale, dtype=np.float32) for (scale, _), width in found])
    return scale, np.concatenate([np.full(width, zero, dtype=np.int64) for (_, zero), width in found])


def _accumulated(
    graph: Graph, product: Product, inputs: tuple[str, str, str], sums: NDArray[np.float64], nodes: list[onnx.NodeProto]
) -> str:
    """int32 sums, bias included: q_b = round(b / (S_x S_w))."""
    made = graph.name("sums")
    nodes.append(helper.make_node("MatMulInteger", list(inputs), [made], name=made))
    if product.bias is None:
        return made
    limit = 2.0**30  # a bias beyond it is beyond any output range as well
    bias = np.clip(np.rint(graph.constants[product.bias] / sums), -limit, limit).astype(np.int32)
    with_bias = graph.name("biased")
    nodes.append(helper.make_node("Add", [made, graph.constant("bias", bias)], [with_bias], name=with_bias))
    return with_bias


def _requantized(
    graph: Graph, total: str, out: str, multiplier: NDArray[np.float64], zero: NDArray[np.int64], nodes: list[onnx.NodeProto]
) -> None:
    """Append :func:`imbik.quantization.integer.requantize` in ONNX to ``nodes``.

    Z · 2^n and half a unit are added before the shift, so that one addition does both.
    """
    m0, n = fixed_point(multiplier)
    offset = (zero << n) + (np.int64(1) << (n - 1))

    def node(op: str, inputs: list[str], **attributes: int) -> str:
        name = graph.name("fixed")
        nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    wide = node("Cast", [total], to=onnx.TensorProto.INT64)
    moved = node("Add", [node("Mul", [wide, graph.constant("m0", m0)]), graph.constant("offset", offset)])
    positive = node("Cast", [node("Max", [moved, graph.constant("least", np.array(0, dtype=np.int64))])], to=onnx.TensorProto.UINT64)
    down = helper.make_node("BitShift", [positive, graph.constant("n", n.astype(np.uint64))], [graph.name("fixed")], direction="RIGHT")
    down.name = down.output[0]
    nodes.append(down)
    most = node("Min", [down.output[0], graph.constant("most", np.array(255, dtype=np.uint64))])
    nodes.append(helper.make_node("Cast", [most], [out], name=out, to=onnx.TensorProto.UINT8))


def remaining(model: onnx.ModelProto) -> dict[str, dict[str, str | int]]:
    """The operators that still compute in float: how many, and why."""
    found: dict[str, dict[str, str | int]] = {}
    for node in model.graph.node:
        if node.op_type in REASONS and not node.name.startswith(_OURS):
            entry = found.setdefault(node.op_type, {"count": 0, "why": REASONS[node.op_type]})
            entry["count"] = int(entry["count"]) + 1
    return found
