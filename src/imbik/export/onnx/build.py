"""Checkpoint -> ONNX graph: trace, fuse, lower to int8.

The fused graph is kept if it computes the same as the model, else the plain one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from imbik.errors import UserError
from imbik.export.onnx.codebooks import pack_constants
from imbik.export.onnx.convolutions import counts, lower_convolutions, weighted
from imbik.export.onnx.first_query import absorb_first_query, first_token
from imbik.export.onnx.fuse import fuse_attention, fuse_pointwise, keep_first_token
from imbik.export.onnx.graph import Graph, fold_constants, matmul_counts, merge_equal
from imbik.export.onnx.integer import float_operators
from imbik.export.onnx.lower import lower
from imbik.export.onnx.operators import name_operators, operators
from imbik.export.onnx.projections import merge_projections
from imbik.export.onnx.sums import join_token_types, plain_sums, slice_positions
from imbik.export.onnx.trace import OPSET, NotFusible, random_rows, trace
from imbik.export.request import BuildRequest
from imbik.images.settings import PIXELS
from imbik.models.architectures.registry import is_own
from imbik.models.hooks import evaluating
from imbik.models.inputs import Tensors, input_names, read_outputs, reads_images
from imbik.models.tokenizers import tokenizer_of
from imbik.quantization.ranges import ranges_of, trace_products
from imbik.runtime.engines.engine import Ids, Session
from imbik.runtime.engines.onnx import MODEL, OnnxSession
from imbik.tasks.outputs import Collector, Output, Outputs, numbers_of
from imbik.tasks.registry import task_of
from imbik.types import Checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

TOLERANCE = 1e-3
"""Largest difference of logits from PyTorch's, relative to the largest logit, that a float graph may have.

Room for sums in another order; a mistake in a rewrite, or a dropout left on, differs by 1e-2 and more.
"""


def build_graph(checkpoint: Checkpoint, request: BuildRequest) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """Build the graph, and what the manifest records of it.

    The record has ``inputs``, ``quantisation``, ``graph``, and ``operators``: all with weights.

    Raises:
        UserError: the architecture cannot be exported, or a scheme needs ranges that the checkpoint
            does not carry.
    """
    scheme = None if request.quantize is None else request.quantize["scheme"]
    if scheme == "static" and reads_images(checkpoint.model):
        return _static_images(checkpoint, request)
    integer = scheme == "integer"
    # A scheme with ranges observed on keys and values, or with blocks of its own, needs their products. The first build of a
    # checkpoint decides: its float parent and its trials have the same operators.
    absorb = request.memo.setdefault("absorb", {None: "any query", "dynamic": "constant query"}.get(scheme))
    floats, facts = float_graph(checkpoint, request, bias=not integer, absorb=absorb)
    graph = floats.copy()
    record = facts
    quantization = None if request.quantize is None else lower(graph, request, ranges_of(checkpoint.model))
    model = graph.finish()
    int8, left = matmul_counts(model)
    record |= {"int8_ops": int8, "float_matmuls": left, "opset": OPSET}
    if integer:
        record["float_operators"] = float_operators(model)
    # After the counting: it would not find constants that stand behind a lookup.
    record["lookups"] = pack_constants(graph)
    model = graph.finish()
    # IR version 8 belongs to opset 17: onnxruntimes that know no newer one open the file too.
    model.ir_version = min(model.ir_version, 8)
    names = input_names(checkpoint.model, checkpoint.tokenizer)
    return model, {"inputs": list(names), "quantisation": quantization, "graph": record, "operators": operators(floats)}


def _static_images(checkpoint: Checkpoint, request: BuildRequest) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """Build the graph of a network that reads images with its convolutions in int8; see :func:`build_graph`."""
    floats, facts = float_graph(checkpoint, request)
    plain = floats.copy().finish()
    names = weighted(plain)
    model, quantization = lower_convolutions(plain, checkpoint, request)
    model.ir_version = min(model.ir_version, 8)
    int8, left = counts(model, names)
    record = facts | {"int8_ops": int8, "float_matmuls": left, "opset": OPSET}
    return model, {"inputs": [PIXELS], "quantisation": quantization, "graph": record, "operators": names}


def float_graph(
    checkpoint: Checkpoint, request: BuildRequest, *, bias: bool = True, absorb: str | None = None
) -> tuple[Graph, dict[str, Any]]:
    """Return the rewritten graph in float, and what the manifest records of it.

    It is made once per request: copy it before changing it.

    Args:
        checkpoint: the model; it comes back as it was.
        request: its ``memo`` keeps the graph.
        bias: whether biases may be fused into activation functions.
        absorb: which query of the last layer is absorbed into keys and values, where it has one: "any query", "constant query", or
            None.

    Raises:
        UserError: the architecture cannot be exported.
    """
    key = f"float, bias {bias}, absorb {absorb}"
    if key not in request.memo:
        with evaluating(checkpoint.model):
            request.memo[key] = _float_graph(checkpoint, bias=bias, absorb=absorb)
    graph, facts = request.memo[key]
    return graph, dict(facts)


def _float_graph(checkpoint: Checkpoint, *, bias: bool, absorb: str | None) -> tuple[Graph, dict[str, Any]]:
    """Trace and rewrite: with the query absorbed, else fused, else plain; the first that computes the same."""
    names = input_names(checkpoint.model, checkpoint.tokenizer)
    images = reads_images(checkpoint.model)
    first = None if images else first_token(tokenizer_of(checkpoint))
    reasons: dict[str, str] = {}
    forms = [*([absorb] if absorb else []), "fused", "plain"]
    if images or is_own(checkpoint.model.config):
        # images have no mask of padding, and architectures of ours no attention that transformers' interface would let us write as one node
        forms = ["plain"]
    while forms:
        form = forms.pop(0)
        try:
            graph, record = _rewrite(checkpoint, names, form=form, bias=bias, first=first)
            gap = difference(_session(graph), checkpoint, names, first=first)
            if gap <= TOLERANCE:
                return graph, record | {"max_abs_relative": gap, "unfused_because": list(dict.fromkeys(reasons.values()))}
            reasons[form] = f"logits differ by {gap:.1e} of the largest"
        except NotFusible as error:
            reasons[form] = f"NotFusible: {error}"
            forms = ["plain"]
        except Exception as error:
            # Whatever stops the fused graph, the plain one may still work; the manifest keeps the reason.
            log.debug("export of the %s graph failed", form, exc_info=True)
            line = next(iter(str(error).strip().splitlines()), "")
            reasons[form] = f"{type(error).__name__}: {line[:160]}"
    raise UserError(
        "the model cannot be exported to ONNX",
        where=type(checkpoint.model).__name__,
        found="; ".join(dict.fromkeys(reasons.values())),
        expected="an encoder with a task's head",
    )


def _rewrite(checkpoint: Checkpoint, names: Sequence[str], *, form: str, bias: bool, first: int | None) -> tuple[Graph, dict[str, Any]]:
    """Trace the model and apply every rewrite; return the graph and what was done."""
    model = checkpoint.model
    fused = form != "plain"
    graph = Graph(trace(model, names, task_of(checkpoint.task).outputs, fused=fused))
    fold_constants(graph)
    _name(graph, model, names)
    attentions = fuse_attention(graph) if fused else 0
    cone = keep_first_token(graph)
    absorbed = None
    if form.endswith("query"):
        absorbed = absorb_first_query(graph, cone, first, int(model.config.vocab_size), constant_only=form == "constant query")
        if checkpoint.pairs is False and not task_of(checkpoint.task).pairs:
            join_token_types(graph)
        slice_positions(graph)
    # After the cone: onnxruntime's fused norms would no longer be known as tokenwise.
    graph = fuse_pointwise(graph, bias=bias)
    plain_sums(graph)
    merged = merge_projections(graph)
    merge_equal(graph)  # layers that share their weights share the merged ones
    return graph, {
        "fused": fused,
        "attentions": attentions,
        "first_token_nodes": len(cone),
        "first_query": absorbed,
        "merged_projections": merged,
    }


def _name(graph: Graph, model: PreTrainedModel, names: Sequence[str]) -> None:
    """Give products and tables the names that the checkpoint's ranges use."""
    feed = random_rows(model, 1, 4)
    used, _ = trace_products(model, {name: torch.from_numpy(feed[name]) for name in names})
    modules = model.named_modules()
    tables = {name: module.weight.detach().cpu().numpy() for name, module in modules if isinstance(module, torch.nn.Embedding)}
    name_operators(graph, used, tables)


def _session(graph: Graph) -> OnnxSession:
    """Open the graph in onnxruntime."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return OnnxSession(ort.InferenceSession(graph.finish().SerializeToString(), options, providers=["CPUExecutionProvider"]))


def difference(
    session: Session,
    checkpoint: Checkpoint,
    names: Sequence[str],
    shapes: Sequence[tuple[int, int]] = ((1, 1), (3, 7), (2, 13)),
    first: int | None = None,
) -> float:
    """Return the largest difference of outputs between a session and a model.

    On random tokens with padding, or random images, relative to the largest output; what is computed for padding does not count.

    Args:
        session: what is compared.
        checkpoint: the PyTorch model.
        names: the inputs that the model takes.
        shapes: the ``(B, T)`` that are tried.
        first: the id that every text begins with, where a graph relies on it.
    """
    model, kinds = checkpoint.model, task_of(checkpoint.task).outputs
    worst = 0.0
    largest = 1e-6
    for batch, length in shapes:
        feed = random_rows(model, batch, length, first)
        # a graph may have left inputs out
        output = session.compute({name: feed[name] for name in session.names})
        with torch.inference_mode():
            expected = read_outputs(model(**{name: torch.from_numpy(feed[name]) for name in names}), kinds)
        mask = feed["attention_mask"] if "attention_mask" in feed else np.ones((batch, 1), np.int64)
        found, reference = (_real(one, kinds, mask) for one in (output, expected))
        worst = max(worst, float(np.abs(found - reference).max()))
        largest = max(largest, float(np.abs(reference).max()))
    return worst / largest


def _real(outputs: Outputs | Tensors, kinds: Sequence[Output], mask: Ids) -> NDArray[np.float32]:
    """Return the numbers of a batch's outputs without those of padding."""
    collector = Collector(len(mask), kinds, 0)
    arrays = {kind.name: np.asarray(outputs[kind.name] if isinstance(outputs, Mapping) else outputs) for kind in kinds}
    collector.put(np.arange(len(mask)), arrays, mask)
    return numbers_of(collector.result())


def build(checkpoint: Checkpoint, directory: Path, request: BuildRequest) -> dict[str, Any]:
    """Write ``model.onnx``: fused where possible, int8 where the request asks for it.

    Args:
        checkpoint: the model; it comes back as it was.
        directory: an existing folder.
        request: see :class:`imbik.export.request.BuildRequest`.

    Returns:
        ``inputs``, ``model``, ``quantisation`` and ``graph`` for the manifest.
    """
    model, record = build_graph(checkpoint, request)
    (directory / MODEL).write_bytes(model.SerializeToString())
    return {"model": MODEL, **record}
