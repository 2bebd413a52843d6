"""A small editable view of an ONNX graph: makers, readers and constants of its tensors."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

MICROSOFT = "com.microsoft"
"""The operator domain that onnxruntime adds to ONNX."""

INT8_OPS = frozenset(
    {
        "DynamicQuantizeLSTM",
        "DynamicQuantizeMatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "MatMulNBits",
        "QAttention",
        "QLinearMatMul",
    }
)
_FLOAT_OPS = frozenset({"MatMul", "Gemm", "Attention", "FusedMatMul", "Einsum", "LSTM"})


class Graph:
    """ONNX model under surgery.

    Nodes are kept in execution order by :meth:`finish`.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes: list[onnx.NodeProto] = list(model.graph.node)
        self.constants: dict[str, NDArray[Any]] = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self.outputs = {value.name for value in model.graph.output}
        # Merged product -> the products in it, and their widths.
        self.parts: dict[str, tuple[tuple[str, int], ...]] = {}
        self._taken = set(self.constants) | {name for node in self.nodes for name in (*node.input, *node.output, node.name)}
        self._made = 0

    def copy(self) -> Graph:
        """Return a graph to change without changing this one; the constants are not copied."""
        model = onnx.ModelProto()
        del self.model.graph.initializer[:]  # they are in `constants`; finish() writes them back
        model.CopyFrom(self.model)
        del model.graph.node[:]
        twin = Graph(model)
        for node in self.nodes:
            twin.nodes.append(onnx.NodeProto())
            twin.nodes[-1].CopyFrom(node)
        twin.constants = dict(self.constants)
        twin.parts = dict(self.parts)
        twin._taken = set(self._taken)
        twin._made = self._made
        return twin

    def name(self, stem: str) -> str:
        """Return a tensor name that nothing else uses."""
        while (name := f"imbik.{stem}.{self._made}") in self._taken:
            self._made += 1
        self._taken.add(name)
        return name

    def constant(self, stem: str, value: NDArray[Any]) -> str:
        """Store a constant; return its name."""
        name = self.name(stem)
        self.constants[name] = np.ascontiguousarray(value)
        return name

    def producer(self, tensor: str) -> onnx.NodeProto | None:
        """Return the node that makes a tensor, or None for inputs and constants."""
        for node in self.nodes:
            if tensor in node.output:
                return node
        return None

    def producers(self) -> dict[str, onnx.NodeProto]:
        """Return tensor -> the node that makes it.

        An empty name stands for an optional output that is not there.
        """
        return {output: node for node in self.nodes for output in node.output if output}

    def consumers(self, tensor: str) -> list[onnx.NodeProto]:
        """Return the nodes that read a tensor."""
        return [node for node in self.nodes if tensor in node.input]

    def rename(self, old: str, new: str) -> None:
        """Let every reader of ``old`` read ``new`` from now on."""
        for node in self.nodes:
            for position, name in enumerate(node.input):
                if name == old:
                    node.input[position] = new

    def replace(self, old: Sequence[onnx.NodeProto], new: Iterable[onnx.NodeProto]) -> None:
        """Put ``new`` where the last of ``old`` stood."""
        gone = {id(node) for node in old}
        position = max(index for index, node in enumerate(self.nodes) if id(node) in gone)
        head = [node for node in self.nodes[: position + 1] if id(node) not in gone]
        self.nodes = head + list(new) + [node for node in self.nodes[position + 1 :] if id(node) not in gone]

    def finish(self) -> onnx.ModelProto:
        """Write nodes and constants back, without anything that no output needs."""
        self.drop_unused()
        self.sort()
        graph = self.model.graph
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in self.constants.items())
        inputs = {value.name for value in graph.input}
        used = {name for node in self.nodes for name in node.input}
        # An input that fusion made useless (token types of one row, say) is no longer asked for.
        for value in list(graph.input):
            if value.name in inputs - used:
                graph.input.remove(value)
        _require_domain(self.model, MICROSOFT, any(node.domain == MICROSOFT for node in self.nodes))
        return self.model

    def drop_unused(self) -> None:
        """Forget nodes and constants that no output needs."""
        producers = self.producers()
        needed = list(self.outputs)
        kept = set()
        while needed:
            node = producers.get(needed.pop())
            if node is None or id(node) in kept:
                continue
            kept.add(id(node))
            needed.extend(node.input)
        self.nodes = [node for node in self.nodes if id(node) in kept]
        used = {name for node in self.nodes for name in node.input} | self.outputs
        self.constants = {name: value for name, value in self.constants.items() if name in used}

    def sort(self) -> None:
        """Put nodes in execution order: a node stands after all that it reads.

        Surgery may have put it too early.

        Raises:
            ValueError: the graph has a cycle.
        """
        producers = self.producers()
        done = set[int]()
        order = list[onnx.NodeProto]()
        for root in self.nodes:
            # An own stack: a deep graph would exceed Python's depth of recursion.
            stack = [root]
            while stack:
                node = stack[-1]
                before = [producers[name] for name in node.input if name in producers]
                waiting = [other for other in before if id(other) not in done]
                if waiting:
                    # No stack of a graph without a cycle grows this long.
                    if len(stack) > len(self.nodes) ** 2:
                        raise ValueError(f"the graph has a cycle through {node.name or node.op_type}")
                    stack.extend(waiting)
                    continue
                stack.pop()
                if id(node) not in done:
                    done.add(id(node))
                    order.append(node)
        self.nodes = order


def _require_domain(model: onnx.ModelProto, domain: str, needed: bool) -> None:
    """Declare an operator domain in the model, if it is needed and not there yet."""
    present = {entry.domain for entry in model.opset_import}
    if needed and domain not in present:
        model.opset_import.append(helper.make_opsetid(domain, 1))


def microsoft(op: str, inputs: Sequence[str], outputs: Sequence[str], name: str, **attributes: int | float) -> onnx.NodeProto:
    """Make a node of onnxruntime's own domain."""
    return helper.make_node(op, list(inputs), list(outputs), name=name, domain=MICROSOFT, **attributes)


def attribute(node: onnx.NodeProto, name: str, default: object = None) -> Any:
    """Return the value of a node's attribute, ``default`` where it has none of that name."""
    for entry in node.attribute:
        if entry.name == name:
            return helper.get_attribute_value(entry)
    return default


def fold_constants(graph: Graph) -> None:
    """Turn ``Constant`` nodes and ``Identity`` of constants into constants, equal ones once.

    The exporter writes a weight that several layers share as ``Identity`` nodes. A quantizer that
    looks for constants does not see through them, leaves those layers in float and so makes the
    file larger.
    """
    for node in graph.nodes:
        if node.op_type == "Constant":
            tensor = attribute(node, "value")
            if tensor is not None:
                graph.constants[node.output[0]] = numpy_helper.to_array(tensor)
    graph.nodes = [node for node in graph.nodes if node.output[0] not in graph.constants]
    for node in list(graph.nodes):
        if node.op_type == "Identity" and node.input[0] in graph.constants and node.output[0] not in graph.outputs:
            graph.rename(node.output[0], node.input[0])
            graph.nodes.remove(node)
    merge_equal(graph)


def merge_equal(graph: Graph) -> None:
    """Store equal constants once."""
    first: dict[tuple[str, tuple[int, ...], str], str] = {}
    for name, value in list(graph.constants.items()):
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        original = first.setdefault((str(value.dtype), value.shape, digest), name)
        if original != name and name not in graph.outputs:
            graph.rename(name, original)
            del graph.constants[name]


def count_ops(model: onnx.ModelProto) -> dict[str, int]:
    """Return operator name -> how many nodes."""
    return dict(Counter(node.op_type for node in model.graph.node))


def matmul_counts(model: onnx.ModelProto) -> tuple[int, int]:
    """Count the products with a weight that run on integer weights, and those left in float.

    A float product counts when one of its factors is a floating-point constant of at least two
    dimensions, directly or through ``Transpose``, ``Identity`` or ``Reshape``.
    """
    graph = Graph(model)
    producers = graph.producers()

    def weight(name: str) -> bool:
        while name not in graph.constants:
            node = producers.get(name)
            if node is None or node.op_type not in ("Transpose", "Identity", "Reshape"):
                return False
            name = node.input[0]
        value = graph.constants[name]
        return value.ndim >= 2 and value.size > 1 and value.dtype.kind == "f"

    int8 = sum(node.op_type in INT8_OPS for node in graph.nodes)
    products = [node for node in graph.nodes if node.op_type in _FLOAT_OPS]
    return int8, sum(any(weight(name) for name in node.input if name) for node in products)
