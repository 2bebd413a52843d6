"""Operators of a graph that hold weights, under the model's own names.

Products with a constant matrix, and embedding tables.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from imbik.export.onnx.graph import Graph, attribute
from imbik.export.onnx.recurrent import lstms
from imbik.quantization.integer import SMALL_TABLE


@dataclass(frozen=True)
class Product:
    """Product ``x @ W (+ bias)`` with a constant W.

    Attributes:
        node: the MatMul or Gemm.
        operator: what reports call it; products that share a weight share the name.
        weight: name of the constant; its matrix ``(K, N)`` is ``matrix``.
        bias: name of the bias, or None; ``replaced`` are the nodes that a lowered product stands
            for.
        parts: the model's products side by side in it, and how many of the N columns each has.
    """

    node: onnx.NodeProto
    operator: str
    weight: str
    matrix: NDArray[np.float32]
    bias: str | None
    replaced: Sequence[onnx.NodeProto]
    parts: tuple[tuple[str, int], ...]

    @property
    def output(self) -> str:
        """Name of the tensor that it makes, bias included."""
        return str(self.replaced[-1].output[0])


@dataclass(frozen=True)
class Table:
    """Gather of rows from a constant ``(V, H)``."""

    node: onnx.NodeProto
    operator: str
    values: NDArray[np.float32]


def products(graph: Graph) -> list[Product]:
    """List all products with a weight, in the order of the graph."""
    listed = []
    owners = dict[str, str]()
    for node in graph.nodes:
        weight = _weight_of(graph, node)
        if weight is None:
            continue
        name, transposed = weight
        matrix = graph.constants[name].T if transposed else graph.constants[name]
        bias, replaced = _bias_of(graph, node, matrix.shape[1])
        # The first product that reads a weight gives all of them its name: they share one fate.
        operator = owners.setdefault(name, node.name)
        parts = graph.parts.get(node.name) or ((node.name, matrix.shape[1]),)
        listed.append(Product(node, operator, name, matrix, bias, replaced, parts))
    return listed


def stored_matrices(graph: Graph) -> list[Product]:
    """List the matrices that heads share out and that are multiplied in float.

    They stand behind a Reshape. Their weights may be stored in integers; see :mod:`imbik.export.onnx.first_query`.
    """
    return _behind(graph, "Reshape")


def stored_tables(graph: Graph) -> list[Product]:
    """List the tables worth storing as integers whose rows are cut, not looked up.

    They stand behind a Transpose; see :func:`imbik.export.onnx.sums.slice_positions`.
    """
    return [table for table in _behind(graph, "Transpose") if table.matrix.size >= SMALL_TABLE]


def _behind(graph: Graph, operator: str) -> list[Product]:
    """List the nodes of an operator that see a constant matrix in another shape."""
    listed = []
    owners = dict[str, str]()
    for node in graph.nodes:
        matrix = graph.constants.get(node.input[0]) if node.op_type == operator else None
        if matrix is not None and matrix.ndim == 2 and matrix.dtype == np.float32:
            owner = owners.setdefault(node.input[0], node.name)
            listed.append(Product(node, owner, node.input[0], matrix, None, [node], ((node.name, matrix.shape[1]),)))
    return listed


def tables(graph: Graph) -> list[Table]:
    """List all embedding tables that are worth storing as integers, in the order of the graph."""
    listed = []
    owners = dict[str, str]()
    for node in graph.nodes:
        if node.op_type != "Gather" or attribute(node, "axis", 0) != 0 or node.input[0] not in graph.constants:
            continue
        values = graph.constants[node.input[0]]
        if values.ndim == 2 and values.dtype == np.float32 and values.size >= SMALL_TABLE:
            listed.append(Table(node, owners.setdefault(node.input[0], node.name), values))
    return listed


def operators(graph: Graph) -> list[str]:
    """List the names of all operators with weights, once each.

    These are what may be put back to float.
    """
    listed: list[Product | Table] = [*products(graph), *stored_matrices(graph), *stored_tables(graph), *tables(graph)]
    return list(dict.fromkeys([*(operator.operator for operator in listed), *(node.name for node in lstms(graph))]))


def name_operators(graph: Graph, used: Iterable[tuple[str, NDArray[Any]]], embeddings: Mapping[str, NDArray[Any]]) -> None:
    """Name products and tables after the model's parameters, recognized by value.

    Args:
        graph: as traced, constants folded, nothing rewritten.
        used: ``(name, weight (N, K))`` of every product in the order of execution
            (:func:`imbik.quantization.ranges.trace_products`); products with equal weights are told
            apart by that order.
        embeddings: name -> ``(V, H)``.
    """
    waiting: dict[str, list[str]] = {}
    for name, value in used:
        waiting.setdefault(_digest(value), []).append(name)
    for product in products(graph):
        # The model stores (N, K), the graph (K, N).
        names = waiting.get(_digest(product.matrix.T))
        if names:
            # In the order of execution: equal weights have several names, one for each use.
            product.node.name = names.pop(0)
    names_by_value = {_digest(value): name for name, value in embeddings.items()}
    for table in tables(graph):
        table.node.name = names_by_value.get(_digest(table.values), table.node.name)


def _digest(value: NDArray[Any]) -> str:
    """Return a key of a matrix: its shape and the hash of its values."""
    return f"{value.shape}{hashlib.sha256(np.ascontiguousarray(value, dtype=np.float32).tobytes()).hexdigest()}"


def _weight_of(graph: Graph, node: onnx.NodeProto) -> tuple[str, bool] | None:
    """Return the constant matrix of a product, and whether it is stored as (out, in)."""
    if node.op_type not in ("MatMul", "Gemm") or node.input[1] not in graph.constants:
        return None
    value = graph.constants[node.input[1]]
    if value.ndim != 2 or value.dtype != np.float32:
        return None
    if node.op_type == "MatMul":
        return node.input[1], False
    transposed = bool(attribute(node, "transB", 0))
    # Only y = x W + b; other factors would have to be folded into the scales.
    plain = attribute(node, "alpha", 1.0) == 1.0 and attribute(node, "beta", 1.0) == 1.0 and not attribute(node, "transA", 0)
    bias = node.input[2] if len(node.input) > 2 else ""
    fits = not bias or (bias in graph.constants and graph.constants[bias].shape == (value.shape[0 if transposed else 1],))
    return (node.input[1], transposed) if plain and fits else None


def _bias_of(graph: Graph, node: onnx.NodeProto, width: int) -> tuple[str | None, list[onnx.NodeProto]]:
    """Return the bias of a product, and the nodes that a lowered product replaces."""
    if node.op_type == "Gemm":
        bias = node.input[2] if len(node.input) > 2 else None
        return bias or None, [node]
    readers = graph.consumers(node.output[0])
    # A bias is an Add of a constant (N,) that nobody else looks behind.
    if len(readers) != 1 or readers[0].op_type != "Add" or node.output[0] in graph.outputs:
        return None, [node]
    bias = next((name for name in readers[0].input if name in graph.constants), None)
    if bias is None or graph.constants[bias].shape != (width,):
        return None, [node]
    return bias, [node, readers[0]]
