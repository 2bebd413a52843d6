"""Exact rewrite of attention with one query a text: the query is absorbed into keys and values.

Where only the first token is classified, the last layer has one query, and neither keys nor values are needed as such (shapes: B texts,
T tokens, N heads of width D, K numbers a token)::

    score of token t, head h    q_h · (x_t W_k,h + b_k,h) = x_t · (W_k,h q_h) + what is the same for every token
    context of head h           Σ_t p_t (x_t W_v,h + b_v,h) = (Σ_t p_t x_t) W_v,h + b_v,h

What is the same for all tokens falls out of the softmax, and the probabilities sum to one. So 2·T·K·N·D multiplications a text become
2·T·K·N, and 2·K·N·D that do not grow with T. In a model of one layer the first token's state depends on no text at all: the query and
the first residual are constants, and so are the vectors W_k,h q_h: (K, N) numbers instead of two matrices.

A matrix that heads share out stays a constant of two axes behind a Reshape, which carries the name of the model's product: so a
quantizer finds it and stores it in integers (:func:`imbik.export.onnx.operators.stored_matrices`). It is multiplied in float.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper
from tokenizers import Tokenizer

from imbik.export.onnx.graph import Graph, attribute
from imbik.export.onnx.projections import Projection, first_factor, projection
from imbik.export.onnx.trace import random_batch

_MASKED = -10000.0
"""Score of a padded token: MultiHeadAttention's own."""

_MIXING = frozenset({"MultiHeadAttention", "Softmax"})
"""Operators that let a token's state depend on other tokens."""


def first_token(tokenizer: Tokenizer) -> int | None:
    """Return the id that every text begins with, None where that is no special token.

    Args:
        tokenizer: with its post-processor, without padding.
    """
    asked: list[str | tuple[str, str]] = ["", "a", "the first of two", ("a", "b")]
    rows = [tokenizer.encode(*text) if isinstance(text, tuple) else tokenizer.encode(text) for text in asked]
    if not all(row.ids and row.special_tokens_mask[0] and row.type_ids[0] == 0 for row in rows):
        return None
    found = {int(row.ids[0]) for row in rows}
    return found.pop() if len(found) == 1 else None


def absorb_first_query(
    graph: Graph, cone: Sequence[onnx.NodeProto], first: int | None, vocabulary: int, *, constant_only: bool = False
) -> str | None:
    """Let keys and values take in the query of the one attention that has only one.

    That is the one that :func:`imbik.export.onnx.fuse.keep_first_token` cut to the first token.

    Args:
        graph: attention fused, nothing else; it is changed.
        cone: the nodes that compute the first token only, in the order of execution.
        first: the id that every text begins with; None: not known, and no state is taken for a constant.
        vocabulary: ids are below it.
        constant_only: leave a query that differs from text to text as it is. In int8 that is faster for single requests: two
            float matrices would be read from memory for one text.

    Returns:
        ``constant`` where the query was one, ``per text`` where it is computed; None where there is nothing to absorb.
    """
    attention = next((node for node in cone if node.op_type == "MultiHeadAttention"), None)
    if attention is None:
        return None
    key, value = (_whole(graph, name) for name in attention.input[1:3])
    if key is None or value is None:
        return None
    query = str(attention.input[0])
    known = {} if first is None else _constants(graph, cone, first, vocabulary)
    parts = _Parts(graph, attention, key, value)
    if query in known:
        scores = parts.scores_of_constant(known.pop(query))
        _replace_constants(graph, known)
    elif constant_only:
        return None
    else:
        scores = parts.scores_of(query)
    parts.finish(scores)
    return "constant" if parts.constant else "per text"


def _whole(graph: Graph, name: str) -> Projection | None:
    """Return the projection that makes keys or values; None for one of low rank, whose factors are small already."""
    chain = projection(graph, name)
    return None if chain is None or first_factor(graph, chain) is not None else chain


class _Parts:
    """Nodes that stand for an attention with one query.

    Args:
        graph: it is changed by :meth:`finish`.
        attention: the node that is replaced.
        key, value: the projections that it read.
    """

    def __init__(self, graph: Graph, attention: onnx.NodeProto, key: Projection, value: Projection) -> None:
        self.graph, self.attention, self.key, self.value = graph, attention, key, value
        self.heads = int(attribute(attention, "num_heads"))
        self.scale = np.float32(attribute(attention, "scale"))
        self.nodes: list[onnx.NodeProto] = []
        self.constant = False

    def _node(self, op: str, inputs: Sequence[str], output: str | None = None, name: str = "", **attributes: object) -> str:
        """Append a node; return the tensor that it makes."""
        made = output or self.graph.name("query")
        self.nodes.append(helper.make_node(op, list(inputs), [made], name=name or made, **attributes))
        return made

    def _matrix(self, values: NDArray[np.float32], shape: Sequence[int], name: str) -> str:
        """Append the constant matrix of a model's product, seen in another shape."""
        return self._node("Reshape", [self.graph.constant("matrix", values), self._integers(shape)], name=name)

    def _integers(self, values: Sequence[int]) -> str:
        return self.graph.constant("shape", np.array(values, dtype=np.int64))

    def scores_of_constant(self, query: NDArray[np.float32]) -> str:
        """Append the scores ``(B, T, N)`` for a query ``(1, 1, N · D)`` that is the same for every text."""
        self.constant = True
        weight = self.graph.constants[self.key.weight]
        # (K, N · D) -> (K, N, D), and (N, D): W_k,h q_h for each head -> (K, N).
        absorbed = np.einsum("knd,nd->kn", weight.reshape(len(weight), self.heads, -1), query.reshape(self.heads, -1))
        # A leading axis: with two axes it would be a product whose input is quantized, at more than its own cost.
        matrix = self._matrix(absorbed.astype(np.float32) * self.scale, (1, *absorbed.shape), self.key.product.name)
        return self._node("MatMul", [self.key.product.input[0], matrix])

    def scores_of(self, query: str) -> str:
        """Append the scores ``(B, T, N)`` for a query ``(B, 1, N · D)`` of each text."""
        weight = self.graph.constants[self.key.weight]
        # (B, 1, N · D) -> (B, N, D) -> (N, B, D): one product a head, over all texts.
        split = self._node("Reshape", [query, self._integers((0, self.heads, -1))])
        by_head = self._node("Transpose", [split], perm=[1, 0, 2])
        # (K, N · D) -> (K, N, D) -> (N, D, K)
        matrix = self._matrix(weight, (len(weight), self.heads, -1), self.key.product.name)
        turned = self._node("Transpose", [matrix], perm=[1, 2, 0])
        # (N, B, D) @ (N, D, K) -> (N, B, K) -> (B, K, N)
        absorbed = self._node("MatMul", [by_head, turned])
        scaled = self._node("Mul", [absorbed, self.graph.constant("scale", np.array(self.scale))])
        vectors = self._node("Transpose", [scaled], perm=[1, 2, 0])
        # (B, T, K) @ (B, K, N) -> (B, T, N)
        return self._node("MatMul", [self.key.product.input[0], vectors])

    def finish(self, scores: str) -> None:
        """Append probabilities and context, and put all of it in the attention's place."""
        graph = self.graph
        # (B, T) -> (B, 1, T), broadcast over heads.
        kept = self._node("Cast", ["attention_mask"], to=onnx.TensorProto.BOOL)
        mask = self._node("Unsqueeze", [kept, self._integers((1,))])
        # (B, T, N) -> (B, N, T)
        turned = self._node("Transpose", [scores], perm=[0, 2, 1])
        masked = self._node("Where", [mask, turned, graph.constant("masked", np.array(_MASKED, dtype=np.float32))])
        probabilities = self._node("Softmax", [masked], axis=-1)
        # (B, N, T) @ (B, T, K) -> (B, N, K) -> (N, B, K)
        pooled = self._node("MatMul", [probabilities, self.value.product.input[0]])
        by_head = self._node("Transpose", [pooled], perm=[1, 0, 2])
        weight = graph.constants[self.value.weight]
        # (K, N · D) -> (K, N, D) -> (N, K, D)
        matrix = self._matrix(weight, (len(weight), self.heads, -1), self.value.product.name)
        turned = self._node("Transpose", [matrix], perm=[1, 0, 2])
        # (N, B, K) @ (N, K, D) -> (N, B, D) -> (B, N, D) -> (B, 1, N · D)
        context = self._node("Transpose", [self._node("MatMul", [by_head, turned])], perm=[1, 0, 2])
        flat = self._node("Reshape", [context, self._integers((0, 1, weight.shape[1]))])
        assert self.value.bias is not None
        self._node("Add", [flat, self.value.bias], output=self.attention.output[0])
        graph.replace([self.attention], self.nodes)


def _constants(graph: Graph, cone: Sequence[onnx.NodeProto], first: int, vocabulary: int) -> dict[str, NDArray[np.float32]]:
    """Return the tensors ``(1, 1, …)`` of the first token that are the same for every text, where others read them."""
    fixed = {name for node in cone for name in node.input if _is_cut(graph, name) and not _mixes(graph, name)}
    for node in cone:
        data = [name for name in node.input if name and name not in graph.constants]
        if node.op_type not in _MIXING and all(name in fixed for name in data):
            fixed.add(node.output[0])
    inside = {node.output[0] for node in cone if node.output[0] in fixed}
    read = [name for name in fixed if any(reader.output[0] not in inside for reader in graph.consumers(name))]
    if not read:
        return {}
    twin = graph.copy()
    twin.outputs = set(read)
    del twin.model.graph.output[:]
    twin.model.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in read)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(twin.finish().SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed = random_batch(4, 9, vocabulary, first)
    values = session.run(read, {value.name: feed[value.name] for value in session.get_inputs()})
    # What the structure says is looked at: four other texts, one of them padded, give the same.
    return {name: value[:1] for name, value in zip(read, values, strict=True) if np.allclose(value, value[:1], rtol=1e-5, atol=1e-6)}


def _is_cut(graph: Graph, name: str) -> bool:
    """Return whether a tensor is the first token of another one, cut out."""
    node = graph.producer(name)
    return node is not None and node.op_type == "Slice"


def _mixes(graph: Graph, name: str) -> bool:
    """Return whether anything before a tensor lets tokens see one another."""
    producers, waiting, seen = graph.producers(), [name], set[str]()
    while waiting:
        node = producers.get(waiting.pop())
        if node is None or node.output[0] in seen:
            continue
        if node.op_type in _MIXING:
            return True
        seen.add(node.output[0])
        waiting.extend(node.input)
    return False


def _replace_constants(graph: Graph, known: dict[str, NDArray[np.float32]]) -> None:
    """Let readers of a known tensor read a constant; where it is a residual, the bias of the product takes it in."""
    for name, value in known.items():
        graph.rename(name, graph.constant("state", value))
    for node in [node for node in graph.nodes if node.op_type == "Add"]:
        state = next((name for name in node.input if name.startswith("imbik.state.")), None)
        before = None if state is None else graph.producer(next(name for name in node.input if name != state))
        if state is None or before is None or before.op_type != "Add" or len(graph.consumers(before.output[0])) != 1:
            continue
        bias = next((name for name in before.input if name in graph.constants), None)
        if bias is None or graph.constants[bias].shape != graph.constants[state].shape[-1:]:
            continue
        source = next(name for name in before.input if name != bias)
        both = graph.constant("bias", graph.constants[bias] + graph.constants[state].reshape(-1))
        graph.replace([before, node], [helper.make_node("Add", [source, both], [node.output[0]], name=node.name)])
