"""Checkpoint -> OpenVINO model: the rewritten ONNX graph, quantized by NNCF where the recipe asks for it."""

from __future__ import annotations

import importlib.util
import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openvino
from onnx import helper

from imbik.errors import MissingExtra, UserError
from imbik.export.calibration import calibration_feeds
from imbik.export.onnx.build import TOLERANCE, difference, float_graph
from imbik.export.onnx.convolutions import pool_whole
from imbik.export.onnx.graph import Graph, fold_constants
from imbik.export.onnx.int8 import Inputs, Weights, lower_table
from imbik.export.onnx.operators import Product, operators, products, tables
from imbik.export.onnx.recurrent import lstms, rounded, store_weights
from imbik.export.onnx.trace import trace
from imbik.export.request import BuildRequest
from imbik.images.settings import PIXELS
from imbik.jobs.quiet import silenced
from imbik.models.inputs import input_names, reads_images
from imbik.models.units import units_of
from imbik.quantization.ranges import ranges_of
from imbik.runtime.engines.openvino import MODEL, OpenVinoSession, compiled
from imbik.runtime.processors import float_precision
from imbik.tasks.registry import task_of
from imbik.types import Checkpoint

log = logging.getLogger(__name__)

LENGTH_MULTIPLE = 8
"""OpenVINO prepares every new shape for some milliseconds: lengths are rounded up to a multiple of this."""


def build(checkpoint: Checkpoint, directory: Path, request: BuildRequest) -> dict[str, Any]:
    """Write ``model.xml`` and ``model.bin``, lowered as the request asks, and return what the manifest records.

    Raises:
        MissingExtra: quantization needs ``nncf``.
        UserError: the model cannot be exported, or nobody gave texts to calibrate on.
    """
    names, settings = input_names(checkpoint.model, checkpoint.tokenizer), request.quantize
    if settings is not None and settings["scheme"] == "qat":
        model, facts, listed = _trained(checkpoint, request)
    else:
        if settings is not None and importlib.util.find_spec("nncf") is None:
            raise MissingExtra("nncf")
        model, facts, listed = _float_model(checkpoint, names, request)
        if settings is not None:
            model = _by_nncf(model, settings, checkpoint, names, request)
    integers, floats = product_counts(model)
    openvino.save_model(model, directory / MODEL, compress_to_fp16=False)
    return {
        "model": MODEL,
        "inputs": list(names),
        "precision": _precision(checkpoint, request),
        "shapes": {"multiple": 1 if PIXELS in names else LENGTH_MULTIPLE},
        "quantisation": None if settings is None else {"scheme": settings["scheme"], "weight_bits": settings["bits"]},
        "graph": {**facts, "int8_ops": integers, "float_matmuls": floats},
        "operators": listed,
    }


def _precision(checkpoint: Checkpoint, request: BuildRequest) -> str:
    """Return what floats are computed in: bf16 where the processor has it, but for values that it cannot tell apart, and images.

    (bf16 moved the logits of a MobileNetV2 with random weights by a tenth of the largest.)
    """
    if reads_images(checkpoint.model):
        return "f32"
    units = units_of(checkpoint.model.config)
    return "f32" if units is not None and units.far else float_precision(request.preset)


_Made = tuple[Any, dict[str, Any], list[str]]
"""A model, what the manifest records of its graph, and the operators with weights."""


def _small(graph: Graph, request: BuildRequest) -> Graph:
    """Return the graph with the weights of LSTMs in int8 where the request quantizes, which NNCF leaves: restored, computed in float."""
    found = [node.name for node in lstms(graph) if request.quantize is not None and node.name not in request.reverted]
    stored = graph.copy() if found else graph
    for node in lstms(stored):
        if node.name in found:
            store_weights(stored, node, rounded(stored, node, 8))
    return stored


def _read(graph: Graph) -> Any:
    """OpenVINO's model of an ONNX graph, batch and length dynamic; of images the batch alone, as the graph says."""
    finished = graph.finish()
    pool_whole(finished)
    model = openvino.Core().read_model(io.BytesIO(finished.SerializeToString()))
    texts = {value: openvino.PartialShape([-1, -1]) for value in model.inputs if value.get_any_name() != PIXELS}
    if texts:
        model.reshape(texts)
    return model


def _float_model(checkpoint: Checkpoint, names: tuple[str, ...], request: BuildRequest) -> _Made:
    """onnxruntime's fused graph where OpenVINO reads it and computes the same, else the traced one."""
    if "float in OpenVINO" in request.memo:
        model, graph, facts = request.memo["float in OpenVINO"]
        small = _small(graph, request)
        return model.clone() if small is graph else _read(small), facts, operators(graph)
    reasons: list[str] = []
    for make in (_fused, _plain):
        try:
            graph, facts = make(checkpoint, names, request)
            model = _read(graph)
            gap = difference(_session(model), checkpoint, names)
        except UserError:
            raise
        except Exception as error:
            # What this OpenVINO cannot read fused it may read plain; the manifest keeps the reason.
            log.debug("openvino from %s failed", make.__name__, exc_info=True)
            reasons.append(f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')[:160]}")
            continue
        if gap <= TOLERANCE:
            request.memo["float in OpenVINO"] = model, graph, {**facts, "max_abs_relative": gap, "unfused_because": reasons}
            return _float_model(checkpoint, names, request)
        reasons.append(f"logits differ by {gap:.1e} of the largest")
    raise UserError(
        "the model cannot be exported to OpenVINO",
        where=type(checkpoint.model).__name__,
        found="; ".join(reasons),
        expected="an encoder with a task's head",
    )


def _fused(checkpoint: Checkpoint, names: tuple[str, ...], request: BuildRequest) -> tuple[Graph, dict[str, Any]]:
    graph, facts = float_graph(checkpoint, request)
    return graph.copy(), facts


def _plain(checkpoint: Checkpoint, names: tuple[str, ...], request: BuildRequest) -> tuple[Graph, dict[str, Any]]:
    graph = Graph(trace(checkpoint.model, names, task_of(checkpoint.task).outputs, fused=False))
    fold_constants(graph)
    return graph, {"fused": False}


def _session(model: Any) -> OpenVinoSession:
    """Open the model in float32."""
    return OpenVinoSession(compiled(model, {"INFERENCE_PRECISION_HINT": "f32"}))


def _trained(checkpoint: Checkpoint, request: BuildRequest) -> _Made:
    """Quantization-aware training fixed every range: they are written into the graph as they are."""
    ranges, settings = ranges_of(checkpoint.model), request.quantize or {}
    if not ranges:
        raise UserError("the checkpoint carries no activation ranges, which the scheme 'qat' needs", fix="make it with imbik compress")
    floats, facts = float_graph(checkpoint, request)
    graph, listed = floats.copy(), operators(floats)
    weights = Weights(graph, 8, settings["granularity"] == "per-channel", ranges)
    inputs, restored = Inputs(graph, ranges), dict[str, str]()
    for product in products(graph):
        if product.operator not in request.reverted and inputs.known(product):
            restore_product(graph, product, weights, inputs, restored)
    for table in tables(graph) if settings["embeddings"] else ():
        if table.operator not in request.reverted:
            lower_table(graph, table)
    return _read(_small(graph, request)), facts, listed


def restore_product(graph: Graph, product: Product, weights: Weights, inputs: Inputs, restored: dict[str, str]) -> None:
    """Quantize what a product reads and restore it to float: the form from which OpenVINO makes an integer product.

    Args:
        graph: it is changed.
        product: one of :func:`imbik.export.onnx.operators.products`.
        weights, inputs: the graph's int8 constants and quantized tensors.
        restored: quantized tensor -> restored tensor, of the products before.
    """
    (q, scale, zero), nodes = inputs.names(product)
    weight, weight_scale = weights.names(product)
    if q not in restored:
        restored[q] = graph.name("restored")
        nodes.append(helper.make_node("DequantizeLinear", [q, scale, zero], [restored[q]], name=restored[q]))
    if weight not in restored:
        restored[weight] = graph.name("weight")
        nodes.append(helper.make_node("DequantizeLinear", [weight, weight_scale], [restored[weight]], name=restored[weight], axis=1))
    kept = product.output if product.bias is None else graph.name("product")
    nodes.append(helper.make_node("MatMul", [restored[q], restored[weight]], [kept], name=product.node.name))
    if product.bias is not None:
        nodes.append(helper.make_node("Add", [kept, product.bias], [product.output], name=graph.name("biased")))
    graph.replace(product.replaced, nodes)


def _by_nncf(model: Any, settings: Mapping[str, Any], checkpoint: Checkpoint, names: tuple[str, ...], request: BuildRequest) -> Any:
    with silenced():
        import nncf

        nncf.set_log_level(logging.ERROR)
        present = {node.get_friendly_name() for node in model.get_ops()}
        kept = nncf.IgnoredScope(names=sorted(request.reverted & present), validate=False)
        if settings["scheme"] == "static":
            feeds = list(calibration_feeds(checkpoint, names, request, "openvino"))
            kind = None if PIXELS in names else nncf.ModelType.TRANSFORMER
            return nncf.quantize(model, nncf.Dataset(feeds), subset_size=len(feeds), model_type=kind, ignored_scope=kept)
        if settings["bits"] == 8:
            return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM, ignored_scope=kept)
        fallback = nncf.AdvancedCompressionParameters(group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST)
        return nncf.compress_weights(
            model,
            mode=nncf.CompressWeightsMode.INT4_SYM,
            group_size=int(settings["block"]),
            all_layers=True,
            ignored_scope=kept,
            advanced_parameters=fallback,
        )


def product_counts(model: Any) -> tuple[int, int]:
    """Products with a constant weight: how many read it as integers, and how many as floats."""
    integers = floats = 0
    for node in model.get_ops():
        if node.get_type_name() not in ("MatMul", "Convolution", "GroupConvolution", "LSTMSequence"):
            continue
        sources = [value.get_node() for value in node.input_values()]
        if node.get_type_name() == "LSTMSequence":
            # both of its matrices are stored alike, and its bias is a constant of two dimensions too
            sources = [_unordered(sources[_LSTM_READS])]
        kinds = [kind for source in sources if (kind := _stored(source)) is not None]
        integers += "integer" in kinds
        floats += "float" in kinds and "integer" not in kinds
    return integers, floats


_LSTM_READS = 4
"""Which input of OpenVINO's LSTM is the matrix of what it reads."""

_BETWEEN = frozenset({"Convert", "Multiply", "Subtract", "Reshape", "Transpose", "FakeQuantize", "FakeConvert"})


def _unordered(node: Any) -> Any:
    """What an LSTM's matrix was before its gates were put into OpenVINO's order."""
    return _unordered(node.input_value(0).get_node()) if node.get_type_name() in ("Concat", "Split") else node


def _stored(node: Any) -> str | None:
    """Kind of the constant of two dimensions or more that a value is made of alone; None where it depends on the inputs."""
    if node.get_type_name() == "Constant":
        if len(node.get_output_shape(0)) < 2:
            return None
        return "float" if node.get_element_type().is_real() else "integer"
    if node.get_type_name() not in _BETWEEN:
        return None
    return _stored(node.input_value(0).get_node())
