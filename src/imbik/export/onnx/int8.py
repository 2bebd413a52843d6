"""int8 lowering of an ONNX graph, dynamic and static.

A weight is stored as q = round(w / s) with one scale per output channel (or one per product), zero
point 0; the input of a product is quantized per tensor to unsigned 8 bits, the sum runs in int32
and is scaled back to float by s_x · s_w (Jacob et al. 2018, section 2). Dynamic: s_x follows from
each tensor's own range at run time. Static: s_x is a constant, observed before
(:mod:`imbik.quantization.ranges`), and a tensor that several products read is quantized once.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from imbik.export.onnx.codebooks import value_blocks
from imbik.export.onnx.graph import Graph, microsoft
from imbik.export.onnx.operators import Product, Table
from imbik.quantization.integer import affine, symmetric
from imbik.quantization.ranges import Ranges


class Weights:
    """int8 weights of a graph, each stored once however many products read it.

    Args:
        graph: it receives the constants.
        bits: 8, or 7 on a CPU whose 8-bit multiply-add saturates at 16 bits (AVX2 or AVX-512
            without VNNI).
        per_channel: one scale per output channel, else one per product of the model.
        ranges: learned ``clip`` factors, where there are any.
    """

    def __init__(self, graph: Graph, bits: int, per_channel: bool, ranges: Ranges) -> None:
        self.graph = graph
        self.bits = bits
        self.per_channel = per_channel
        self.ranges = ranges
        self._stored: dict[str, tuple[str, str]] = {}

    def integers(self, product: Product) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """Return ``(K, N)`` integers and ``(N,)`` scales.

        The parts of a merged product keep scales of their own.
        """
        columns = []
        scales = []
        start = 0
        for name, width in product.parts:
            part = product.matrix[:, start : start + width]
            clip = float(self.ranges.get(name, {}).get("clip", 1.0))
            # With one scale, what has few values keeps few, and packs.
            tied = value_blocks(part, 16) is not None
            q, scale = symmetric(part, axis=1 if self.per_channel and not tied else None, bits=self.bits, clip=clip)
            columns.append(q)
            scales.append(np.broadcast_to(scale.reshape(-1), (width,)))
            start += width
        return np.concatenate(columns, axis=1), np.concatenate(scales)

    def names(self, product: Product) -> tuple[str, str]:
        """Return the names of both as constants."""
        if product.weight not in self._stored:
            q, scale = self.integers(product)
            self._stored[product.weight] = self.graph.constant("int8", q), self.graph.constant("scale", scale)
        return self._stored[product.weight]


class Inputs:
    """Tensors quantized with constant scales, each once."""

    def __init__(self, graph: Graph, ranges: Ranges) -> None:
        self.graph = graph
        self.ranges = ranges
        self._made: dict[str, tuple[str, str, str]] = {}

    def known(self, product: Product) -> bool:
        """Return whether the range of what a product reads was observed."""
        return all(name in self.ranges for name, _ in product.parts)

    def range(self, product: Product) -> tuple[np.float32, int]:
        """Return scale and zero point of what a product reads."""
        ends = [self.ranges[name]["input"] for name, _ in product.parts]
        # Merged products read one tensor: the range of all of them holds it.
        return affine(min(low for low, _ in ends), max(high for _, high in ends))

    def names(self, product: Product) -> tuple[tuple[str, str, str], list[onnx.NodeProto]]:
        """Return the names of ``(q, scale, zero point)`` of what a product reads.

        And the nodes that are new for it.
        """
        source = str(product.node.input[0])
        if source in self._made:
            return self._made[source], []
        scale, zero = self.range(product)
        names = (
            self.graph.name("quantized"),
            self.graph.constant("scale", np.array(scale)),
            self.graph.constant("zero", np.array(zero, dtype=np.uint8)),
        )
        self._made[source] = names
        return names, [helper.make_node("QuantizeLinear", [source, names[1], names[2]], [names[0]], name=names[0])]


def lower_dynamic(graph: Graph, product: Product, weights: Weights) -> None:
    """Lower a product to int8 that quantizes its input by the range it finds there."""
    inputs = [product.node.input[0], *weights.names(product), *(("", product.bias) if product.bias else ())]
    graph.replace(product.replaced, [microsoft("DynamicQuantizeMatMul", inputs, [product.output], product.node.name)])


def store_matrix(graph: Graph, product: Product, weights: Weights) -> None:
    """Store a matrix in int8 that is multiplied in float.

    ``Cast(q) * scale``: onnxruntime computes it once, while it opens the file.
    """
    q, scale = weights.names(product)
    floats, matrix = graph.name("floats"), graph.name("matrix")
    nodes = [
        helper.make_node("Cast", [q], [floats], name=floats, to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [floats, scale], [matrix], name=matrix),
    ]
    product.node.input[0] = matrix
    graph.replace([product.node], [*nodes, product.node])


def lower_static(graph: Graph, product: Product, weights: Weights, quantized: Inputs) -> None:
    """Lower a product to int8 whose input is quantized by a range observed before."""
    (q, scale, zero), nodes = quantized.names(product)
    weight, weight_scale = weights.names(product)
    # Order of MatMulIntegerToFloat: A, B, scales of A and B, zero points of A and B, bias; "" skips
    # one.
    inputs = [q, weight, scale, weight_scale, zero, "", *((product.bias,) if product.bias else ())]
    node = microsoft("MatMulIntegerToFloat", inputs, [product.output], product.node.name)
    graph.replace(product.replaced, [*nodes, node])


def lower_table(graph: Graph, table: Table) -> None:
    """Store an embedding table in int8 with one scale per row.

    ``Gather(table, ids)`` becomes ``Cast(Gather(q, ids)) * Gather(scale, ids)``: the float table
    never exists, on disk or in memory.
    """
    # (V, H) -> q (V, H), scale (V, 1)
    q, scale = symmetric(table.values, axis=0)
    node, ids = table.node, table.node.input[1]
    rows = graph.name("rows")
    floats = graph.name("floats")
    scales = graph.name("scales")
    nodes = [
        helper.make_node("Gather", [graph.constant("table", q), ids], [rows], name=rows, axis=0),
        helper.make_node("Cast", [rows], [floats], name=floats, to=onnx.TensorProto.FLOAT),
        helper.make_node("Gather", [graph.constant("scale", scale), ids], [scales], name=scales, axis=0),
        helper.make_node("Mul", [floats, scales], [node.output[0]], name=node.name),
    ]
    graph.replace([node], nodes)
