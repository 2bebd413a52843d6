"""The operators of a graph that hold weights: products with a constant matrix and embedding tables, under the model's own names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from imbik.export.onnx.graph import Graph, attribute
from imbik.quantization.integer import SMALL_TABLE


@dataclass(frozen=True)
class Product:
    """``x @ W (+ bias)`` with a constant W.

    Attributes:
        node: the MatMul or Gemm.
        operator: what reports call it; products that share a weight share the name.
        weight: name of the constant; its matrix ``(K, N)`` is ``matrix``.
        bias: name of the bias, or None; ``replaced`` are the nodes that a lowered product stands for.
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
        """The tensor that it makes, bias included."""
        return str(self.replaced[-1].output[0])


@dataclass(frozen=True)
class Table:
    """A Gather of rows from a constant ``(V, H)``."""

    node: onnx.NodeProto
    operator: str
    values: NDArray[np.float32]


def products(graph: Graph) -> list[Product]:
    """All products with a weight, in the order of the graph."""
    found, owners = [], dict[str, str]()
    for node in graph.nodes:
        weight = _weight_of(graph, node)
        if weight is None:
            continue
        name, transposed = weight
        matrix = graph.constants[name].T if transposed else graph.constants[name]
        bias, replaced = _bias_of(graph, node, matrix.shape[1])
        operator = owners.setdefault(name, node.name)
        parts = graph.parts.get(node.name) or ((node.name, matrix.shape[1]),)
        found.append(Product(node, operator, name, matrix, bias, replaced, parts))
    return found


def tables(graph: Graph) -> list[Table]:
    """All embedding tables that are worth storing as integers, in the order of the graph."""
    found, owners = [], dict[str, str]()
    for node in graph.nodes:
        if node.op_type != "Gather" or attribute(node, "axis", 0) != 0 or node.input[0] not in graph.constants:
            continue
        values = graph.constants[node.input[0]]
        if values.ndim == 2 and values.dtype == np.float32 and values.size >= SMALL_TABLE:
            found.append(Table(node, owners.setdefault(node.input[0], node.name), values))
    return found


def operators(graph: Graph) -> list[str]:
    """Names of all operators with weights, once each: what may be put back to float."""
    return list(dict.fromkeys([one.operator for one in products(graph)] + [one.operator for one in tables(graph)]))


def name_operators(graph: Graph, used: Iterable[tuple[str, NDArray[Any]]], embeddings: Mapping[str, NDArray[Any]]) -> None:
    """Name products and tables after the model's parameters, which they are recognized by value.

    Args:
        graph: as traced, constants folded, nothing rewritten.
        used: ``(name, weight (N, K))`` of every product in the order of execution (:func:`imbik.quantization.ranges.trace_products`);
            products with equal weights are told apart by that order.
        embeddings: name -> ``(V, H)``.
    """
    waiting: dict[str, list[str]] = {}
    for name, value in used:
        waiting.setdefault(_digest(value), []).append(name)
    for product in products(graph):
        names = waiting.get(_digest(product.matrix.T))
        if names:
            product.node.name = names.pop(0)
    known = {_digest(value): name for name, value in embeddings.items()}
    for table in tables(graph):
        table.node.name = known.get(_digest(table.values), table.node.name)


def _digest(value: NDArray[Any]) -> str:
    return f"{value.shape}{hashlib.sha256(np.ascontiguousarray(value, dtype=np.float32).tobytes()).hexdigest()}"


def _weight_of(graph: Graph, node: onnx.NodeProto) -> tuple[str, bool] | None:
    """The constant matrix that a product multiplies by, and whether it is stored as (out, in)."""
    if node.op_type not in ("MatMul", "Gemm") or node.input[1] not in graph.constants:
        return None
    value = graph.constants[node.input[1]]
    if value.ndim != 2 or value.dtype != np.float32:
        return None
    if node.op_type == "MatMul":
        return node.input[1], False
    transposed = bool(attribute(node, "transB", 0))
    plain = attribute(node, "alpha", 1.0) == 1.0 and attribute(node, "beta", 1.0) == 1.0 and not attribute(node, "transA", 0)
    bias = node.input[2] if len(node.input) > 2 else ""
    fits = not bias or (bias in graph.constants and graph.constants[bias].shape == (value.shape[0 if transposed else 1],))
    return (node.input[1], transposed) if plain and fits else None


def _bias_of(graph: Graph, node: onnx.NodeProto, width: int) -> tuple[str | None, list[onnx.NodeProto]]:
    """The bias that belongs to a product, and the nodes that a lowered product replaces."""
    if node.op_type == "Gemm":
        bias = node.input[2] if len(node.input) > 2 else None
        return bias or None, [node]
    readers = graph.consumers(node.output[0])
    if len(readers) != 1 or readers[0].op_type != "Add" or node.output[0] in graph.outputs:
        return None, [node]
    bias = next((name for name in readers[0].input if name in graph.constants), None)
    if bias is None or graph.constants[bias].shape != (width,):
        return None, [node]
    return bias, [node, readers[0]]
