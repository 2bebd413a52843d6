"""Constants of few different values, stored in ONNX as packed indices and a codebook.

ONNX has no codebook type, but it can compute one: ``Gather(codebook, indices)``, the indices
unpacked from half bytes by shifts. All of its inputs are constants, so onnxruntime does it once,
while it opens the file: what runs is the graph as it was, at its speed and in its memory; what
shrinks is the file. Embedding tables are looked up in two steps (row of indices, then values), so
that these stay a byte an entry in memory too. Nothing is approximated here: a constant is packed
only if it comes back bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from imbik.export.onnx.graph import Graph, attribute

SMALL = 4096
"""Constants of fewer entries stay as they are: the nodes that unpack them take bytes too."""

_PARTS = (1, 3, 2)
"""A matrix may hold several side by side, each with values of its own: merged query, key and value, or two of them."""


def value_blocks(value: NDArray[Any], most: int = 256) -> list[NDArray[Any]] | None:
    """Cut a matrix into column blocks of at most ``most`` different values each.

    None where there is no such cut. A kernel of three or more dimensions stays in one piece.

    >>> matrix = np.repeat(np.array([[1.0, 2.0, 7.0]], dtype=np.float32), 4, axis=0)
    >>> len(value_blocks(matrix, most=3)), len(value_blocks(matrix, most=1)), value_blocks(matrix[:, :2], most=0)
    (1, 3, None)
    """
    if value.ndim != 2:
        return [value] if value.ndim > 2 and _few(value, most) else None
    for parts in _PARTS:
        if value.shape[1] % parts == 0:
            blocks = np.split(value, parts, axis=1)
            if all(_few(block, most) for block in blocks):
                return blocks
    return None


def _few(block: NDArray[Any], most: int) -> bool:
    """Return whether a block has at most ``most`` different values."""
    # A sample first: np.unique sorts, and most blocks have many values.
    sample = block.reshape(-1)[: 16 * (most + 1)]
    return len(np.unique(sample)) <= most and len(np.unique(block)) <= most


def pack_constants(graph: Graph) -> dict[str, int]:
    """Pack every constant matrix that becomes smaller by it.

    Returns:
        ``packed`` (how many), ``bytes_before`` and ``bytes_after`` of their values.
    """
    record = {"packed": 0, "bytes_before": 0, "bytes_after": 0}
    for name in list(graph.constants):
        value = graph.constants[name]
        if value.size < SMALL or value.dtype not in (np.float32, np.int8):
            continue
        # 16 values make half bytes; up to 256 a byte, which only float constants gain from.
        blocks = value_blocks(value, 16) or (value_blocks(value, 256) if value.dtype == np.float32 else None)
        if blocks is None or name in graph.outputs:
            continue
        readers = graph.consumers(name)
        rows_only = len(blocks) == 1 and all(_is_lookup(node, name) for node in readers)
        before = sum(constant.nbytes for constant in graph.constants.values())
        if rows_only:
            _replace_lookups(graph, name, readers)
        else:
            _replace_matrix(graph, name, blocks)
        del graph.constants[name]
        record["packed"] += 1
        record["bytes_before"] += value.nbytes
        record["bytes_after"] += sum(constant.nbytes for constant in graph.constants.values()) - before + value.nbytes
    return record


def _is_lookup(node: onnx.NodeProto, name: str) -> bool:
    """Return whether a node looks rows of ``name`` up."""
    return bool(node.op_type == "Gather" and node.input[0] == name and attribute(node, "axis", 0) == 0)


def _replace_matrix(graph: Graph, name: str, blocks: list[NDArray[Any]]) -> None:
    """Let every reader of a constant read what is looked up instead."""
    nodes, outputs = [], []
    for block in blocks:
        indices, codebook, unpacking = _indices(graph, block)
        nodes += unpacking
        outputs.append(_gather(graph, codebook, indices, nodes))
    if len(outputs) > 1:
        joined = graph.name("joined")
        nodes.append(helper.make_node("Concat", outputs, [joined], name=joined, axis=1))
        outputs = [joined]
    graph.rename(name, outputs[0])
    graph.nodes[:0] = nodes


def _replace_lookups(graph: Graph, name: str, readers: list[onnx.NodeProto]) -> None:
    """Look a row of a table up as a row of indices, and only then as values."""
    table, codebook, unpacking = _indices(graph, graph.constants[name])
    for node in readers:
        rows = graph.name("rows")
        nodes = [helper.make_node("Gather", [table, node.input[1]], [rows], name=rows, axis=0)]
        last = _gather(graph, codebook, rows, nodes)
        nodes[-1].output[0] = node.output[0]
        assert last != node.output[0]
        graph.replace([node], nodes)
    graph.nodes[:0] = unpacking


def _indices(graph: Graph, block: NDArray[Any]) -> tuple[str, str, list[onnx.NodeProto]]:
    """Store a block as indices and codebook.

    Returns the names of the indices (uint8, of the block's shape) and of the codebook, and the
    nodes that unpack the indices.
    """
    codebook, inverse = np.unique(block, return_inverse=True)
    indices = inverse.reshape(block.shape).astype(np.uint8)
    values = graph.constant("codebook", codebook)
    # More than 16 values need a byte each: nothing to unpack.
    if len(codebook) > 16:
        return graph.constant("indices", indices), values, []
    flat = indices.reshape(-1)
    half = -(-len(flat) // 2)
    low = np.zeros(half, dtype=np.uint8)
    low[: len(flat) - half] = flat[half:]
    # The first half of the indices in the high half bytes, the second in the low ones: unpacking is
    # then two shifts and a Concat, without interleaving.
    packed = graph.constant("packed", (flat[:half] << 4) | low)
    four = _shared(graph, "four", np.array(4, dtype=np.uint8))
    names = [graph.name(stem) for stem in ("high", "shifted", "low", "both", "flat", "indices")]
    high, shifted, lower, both, cut, shaped = names
    count = _shared(graph, "count", np.array([len(flat)], dtype=np.int64))
    zero = _shared(graph, "zero", np.array([0], dtype=np.int64))
    shape = _shared(graph, "shape", np.array(block.shape, dtype=np.int64))
    nodes = [
        helper.make_node("BitShift", [packed, four], [high], name=high, direction="RIGHT"),
        # Left and right again: the high half falls off a byte.
        helper.make_node("BitShift", [packed, four], [shifted], name=shifted, direction="LEFT"),
        helper.make_node("BitShift", [shifted, four], [lower], name=lower, direction="RIGHT"),
        helper.make_node("Concat", [high, lower], [both], name=both, axis=0),
        helper.make_node("Slice", [both, zero, count], [cut], name=cut),
        helper.make_node("Reshape", [cut, shape], [shaped], name=shaped),
    ]
    return shaped, values, nodes


def _gather(graph: Graph, codebook: str, indices: str, nodes: list[onnx.NodeProto]) -> str:
    """Append ``codebook[indices]`` to ``nodes``; return its name."""
    wide, values = graph.name("wide"), graph.name("values")
    # Gather takes int32 or int64 indices only.
    nodes.append(helper.make_node("Cast", [indices], [wide], name=wide, to=onnx.TensorProto.INT32))
    nodes.append(helper.make_node("Gather", [codebook, wide], [values], name=values, axis=0))
    return values


def _shared(graph: Graph, stem: str, value: NDArray[Any]) -> str:
    """Store a small constant once; return its name."""
    for name, stored in graph.constants.items():
        if name.startswith(f"imbik.{stem}.") and stored.dtype == value.dtype and np.array_equal(stored, value):
            return name
    return graph.constant(stem, value)
