"""Recurrent layers of a graph with int8 weights: onnxruntime's own LSTM, or integers in the file that are restored when it opens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from imbik.export.onnx.graph import Graph, microsoft
from imbik.quantization.integer import symmetric

Stored: TypeAlias = tuple[NDArray[np.int8], NDArray[np.float32]]
"""Integers ``(D, G, n)`` of a matrix of D directions and G rows of gates, and their scales ``(D, G)``."""


def lstms(graph: Graph) -> list[onnx.NodeProto]:
    """List the LSTMs with constant weights, in the order of the graph."""
    return [node for node in graph.nodes if node.op_type == "LSTM" and all(name in graph.constants for name in node.input[1:3])]


def rounded(graph: Graph, node: onnx.NodeProto, bits: int) -> list[Stored]:
    """Round both matrices of a layer with one scale per row of each direction.

    Args:
        graph: not changed.
        node: one of :func:`lstms`.
        bits: 8, or 7 (:class:`imbik.export.onnx.int8.Weights`).
    """
    parts = []
    for matrix in (graph.constants[name] for name in node.input[1:3]):
        q, scale = symmetric(matrix.reshape(-1, matrix.shape[-1]), axis=0, bits=bits)
        parts.append((q.reshape(matrix.shape), scale.reshape(matrix.shape[:2])))
    return parts


def store_weights(graph: Graph, node: onnx.NodeProto, parts: Sequence[Stored]) -> None:
    """Store the weights of a layer in int8 that computes in float.

    ``Cast(q) * scale``: onnxruntime computes it once, while it opens the file.
    """
    for place, (q, scale) in enumerate(parts, 1):
        floats, restored = graph.name("floats"), graph.name("restored")
        constant = graph.constant("scale", scale[:, :, None])
        graph.nodes[:0] = [
            helper.make_node("Cast", [graph.constant("int8", q)], [floats], name=floats, to=onnx.TensorProto.FLOAT),
            helper.make_node("Mul", [floats, constant], [restored], name=restored),
        ]
        node.input[place] = restored


def lower_lstm(graph: Graph, node: onnx.NodeProto, parts: Sequence[Stored]) -> None:
    """Let onnxruntime's own operator compute an LSTM with int8 weights.

    What it reads and remembers is rounded at run time.
    """
    names = [*node.input[:8], *([""] * (8 - len(node.input)))]
    for place, (q, scale) in enumerate(parts, 1):
        # (D, 4 H, n) -> (D, n, 4 H)
        names[place] = graph.constant("int8", q.transpose(0, 2, 1))
        names += [graph.constant("scale", scale), graph.constant("zero", np.zeros(scale.shape, np.int8))]
    new = microsoft("DynamicQuantizeLSTM", names, list(node.output), node.name)
    new.attribute.extend(entry for entry in node.attribute if entry.name != "layout")
    graph.replace([node], [new])
