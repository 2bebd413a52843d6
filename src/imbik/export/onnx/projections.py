"""Products that make query, key and value: found behind an attention, and merged where they read one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from imbik.export.onnx.graph import Graph


def merge_projections(graph: Graph) -> int:
    """Let query, key and value of one attention come from one product.

    Where they read the same tensor; and so their first factors, where they are products of low
    rank. Returns how many merged.
    """
    merged = 0
    for node in [node for node in graph.nodes if node.op_type == "MultiHeadAttention"]:
        chains = [chain for name in node.input[:3] if (chain := projection(graph, name)) is not None]
        firsts = [first_factor(graph, chain) for chain in chains]
        whole = [chain for chain, first in zip(chains, firsts, strict=True) if first is None]
        for group in (*_same_source(whole), *_same_source([first for first in firsts if first is not None])):
            _merge(graph, group)
            merged += 1
    return merged


@dataclass(frozen=True)
class Projection:
    """Product x · W, and + b where ``add`` stands behind it.

    Nothing else reads what lies between.
    """

    product: onnx.NodeProto
    add: onnx.NodeProto | None
    weight: str
    bias: str | None

    @property
    def nodes(self) -> list[onnx.NodeProto]:
        """Nodes that the projection consists of."""
        return [self.product] if self.add is None else [self.product, self.add]

    @property
    def result(self) -> str:
        """Name of the tensor that it makes."""
        return str(self.nodes[-1].output[0])


def projection(graph: Graph, name: str) -> Projection | None:
    """Return the projection that makes ``name`` = Add(MatMul(x, W), b).

    None where there is no such pair, or others read ``name``.
    """
    add = graph.producer(name)
    if add is None or add.op_type != "Add" or len(graph.consumers(name)) != 1:
        return None
    bias = next((value for value in add.input if value in graph.constants), None)
    product = product_of(graph, next(value for value in add.input if value != bias)) if bias else None
    return Projection(product, add, product.input[1], bias) if product is not None else None


def first_factor(graph: Graph, chain: Projection) -> Projection | None:
    """Return the product x · V before a product U of low rank."""
    product = product_of(graph, chain.product.input[0])
    return Projection(product, None, product.input[1], None) if product is not None else None


def product_of(graph: Graph, name: str) -> onnx.NodeProto | None:
    """Return the MatMul with a constant matrix that makes ``name``.

    None unless one node alone reads it.
    """
    node = graph.producer(name)
    if node is None or node.op_type != "MatMul" or node.input[1] not in graph.constants or len(graph.consumers(name)) != 1:
        return None
    return node if graph.constants[node.input[1]].ndim == 2 else None


def _same_source(chains: Sequence[Projection]) -> list[list[Projection]]:
    """Group the projections that read one tensor, in groups of two and more."""
    groups: dict[str, list[Projection]] = {}
    for chain in chains:
        groups.setdefault(chain.product.input[0], []).append(chain)
    return [group for group in groups.values() if len(group) >= 2]


def _merge(graph: Graph, chains: Sequence[Projection]) -> None:
    """Put one product, one addition and a Split in the place of several projections."""
    # (K, N1), (K, N2), … -> (K, N1 + N2 + …): one product reads x once.
    weight = np.concatenate([graph.constants[chain.weight] for chain in chains], axis=1)
    widths = np.array([graph.constants[chain.weight].shape[1] for chain in chains], dtype=np.int64)
    names = [str(chain.product.name) for chain in chains]
    # For int8: each part keeps the range and the scales of the product that it was.
    graph.parts["+".join(names)] = tuple(zip(names, widths.tolist(), strict=True))
    whole = graph.name("product")
    source = [chains[0].product.input[0], graph.constant("weight", weight)]
    nodes = [helper.make_node("MatMul", source, [whole], name="+".join(names))]
    biases = [graph.constants[chain.bias] for chain in chains if chain.bias is not None]
    if biases:
        added = graph.name("projection")
        nodes.append(helper.make_node("Add", [whole, graph.constant("bias", np.concatenate(biases))], [added], name=added))
        whole = added
    split = [whole, graph.constant("widths", widths)]
    # (B, T, N1 + N2 + …) -> (B, T, N1), (B, T, N2), …
    nodes.append(helper.make_node("Split", split, [chain.result for chain in chains], name=graph.name("split"), axis=-1))
    graph.replace([node for chain in chains for node in chain.nodes], nodes)
