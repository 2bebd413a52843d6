"""Exact rewrites of sums: what stands before a LayerNorm, and the three tables that an embedding adds up."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from imbik.export.onnx.graph import Graph, attribute


def plain_sums(graph: Graph) -> int:
    """Write the residual sum before a LayerNorm as ``Sum``; return how many.

    onnxruntime turns ``Add`` and LayerNormalization into SkipLayerNormalization, while it opens a file too. Its kernel for processors
    takes 4 to 8 times as long as the two operators one after the other (1.31, 64 × 15 tokens of width 384: 1,840 against 340 µs on one
    thread). It does not know the pattern with ``Sum``, which computes the same.
    """
    count = 0
    for node in graph.nodes:
        if node.op_type != "Add" or any(name in graph.constants for name in node.input):
            continue
        readers = graph.consumers(node.output[0])
        if len(readers) == 1 and readers[0].op_type == "LayerNormalization":
            node.op_type = "Sum"
            count += 1
    return count


def join_token_types(graph: Graph) -> bool:
    """Add the row of the first token type to every position; return whether it was possible.

    For a model of single texts.

    Texts without a second one have the type 0 everywhere: ``(word + type[0]) + position = word + (position + type[0])``.
    """
    found = next((node for node in graph.nodes if node.op_type == "Gather" and node.input[1] == "token_type_ids"), None)
    readers = [] if found is None else graph.consumers(found.output[0])
    if found is None or found.input[0] not in graph.constants or len(readers) != 1 or readers[0].op_type != "Add":
        return False
    added = readers[0]
    after = graph.consumers(added.output[0])
    if len(after) != 1 or after[0].op_type != "Add":
        return False
    positions = graph.producer(next(name for name in after[0].input if name != added.output[0]))
    if positions is None or not _reads_table(graph, positions):
        return False
    joined = graph.constants[positions.input[0]] + graph.constants[found.input[0]][0]
    positions.input[0] = graph.constant("positions", joined)
    word = next(name for name in added.input if name != found.output[0])
    graph.rename(added.output[0], word)
    graph.replace([added, found], [])
    return True


def slice_positions(graph: Graph) -> bool:
    """Cut the first T rows off the table of positions; return whether it was possible.

    That takes the place of a look-up of 0, 1, … T - 1.

    The table stays a constant behind a Transpose of its own: so a quantizer stores it with one scale a position, and onnxruntime
    restores it once, while it opens the file.
    """
    for node in graph.nodes:
        cut = graph.producer(node.input[1]) if _reads_table(graph, node) else None
        if cut is None or cut.op_type != "Slice" or not _counts(graph, cut):
            continue
        table = graph.name("positions")
        length = graph.name("length")
        first, axis = (graph.constant("bound", np.array([number], dtype=np.int64)) for number in (0, 0))
        turned = graph.constant("matrix", graph.constants[node.input[0]].T)
        new = [
            helper.make_node("Transpose", [turned], [table], name=node.name, perm=[1, 0]),
            # (B, T) -> [T]
            helper.make_node("Shape", ["input_ids"], [length], name=length, start=1, end=2),
            # (P, H) -> (T, H), the same for every text.
            helper.make_node("Slice", [table, first, length, axis], [node.output[0]], name=graph.name("cut")),
        ]
        graph.replace([node], new)
        return True
    return False


def _reads_table(graph: Graph, node: onnx.NodeProto) -> bool:
    """Return whether a node looks rows of a constant table up."""
    if node.op_type != "Gather" or attribute(node, "axis", 0) != 0 or node.input[0] not in graph.constants:
        return False
    return bool(graph.constants[node.input[0]].ndim == 2)


def _counts(graph: Graph, cut: onnx.NodeProto) -> bool:
    """Return whether a Slice gives 0, 1, … T - 1 for texts of T tokens: of a constant count, from its start to the texts' length."""
    count, starts = (graph.constants.get(name) for name in cut.input[:2])
    if count is None or count.ndim != 2 or len(count) != 1 or starts is None or starts.tolist() != [0]:
        return False
    if not np.array_equal(count[0], np.arange(count.shape[1])):
        return False
    axes, steps = ([graph.constants.get(name) for name in cut.input[3:5]] + [None, None])[:2]
    if axes is None or axes.tolist() not in ([1], [-1]) or (steps is not None and steps.tolist() != [1]):
        return False
    return _is_length(graph, cut.input[2])


def _is_length(graph: Graph, name: str) -> bool:
    """Return whether a tensor is ``[T]``: the second entry of the shape of ``input_ids``, or of the rows that they look up."""
    node = graph.producer(name)
    while node is not None and node.op_type in ("Unsqueeze", "Cast", "Reshape", "Identity"):
        node = graph.producer(node.input[0])
    index = None if node is None or node.op_type != "Gather" else graph.constants.get(node.input[1])
    if node is None or index is None or index.size != 1 or int(index.reshape(())) != 1:
        return False
    shape = graph.producer(node.input[0])
    if shape is None or shape.op_type != "Shape":
        return False
    rows = graph.producer(shape.input[0])
    return shape.input[0] == "input_ids" or (rows is not None and _reads_table(graph, rows) and rows.input[1] == "input_ids")
