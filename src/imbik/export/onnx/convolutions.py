"""Static int8 of a graph with convolutions: onnxruntime's own quantizer, which knows them, on images of the task.

Weights are stored per output channel, what operators read and give per tensor, as pairs of QuantizeLinear and DequantizeLinear that
onnxruntime turns into integer operators when it opens the file. Batch norms are folded into the convolutions before: the trace of a
model in evaluation mode does that.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType
from onnxruntime.quantization.quantize import StaticQuantConfig, quantize

from imbik.export.calibration import calibration_feeds
from imbik.export.request import BuildRequest
from imbik.images.settings import PIXELS
from imbik.jobs.quiet import silenced
from imbik.types import Checkpoint

WEIGHTED = ("Conv", "Gemm", "MatMul")
"""Operators that multiply by weights."""


def weighted(model: onnx.ModelProto) -> list[str]:
    """Return the names of the operators with weights, in the order of the graph."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [node.name for node in model.graph.node if node.op_type in WEIGHTED and any(name in constants for name in node.input)]


def pool_whole(model: onnx.ModelProto) -> None:
    """Replace averages over windows larger than the image by averages over all of it.

    EfficientNet's last pooling has such a window, which counts only what is there (``ceil_mode``, no padding); OpenVINO reads none that
    is larger than what it lies on.

    Args:
        model: changed in place; the sides of its images are known.
    """
    read = [value.type.tensor_type.shape.dim[2:] for value in model.graph.input if value.name == PIXELS]
    sides = [side.dim_value for side in read[0]] if read else []
    for node in model.graph.node:
        if node.op_type == "AveragePool" and sides:
            said = {"pads": [0], **{one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}}
            if not any(said["pads"]) and all(0 < side < window for side, window in zip(sides, said["kernel_shape"], strict=True)):
                node.op_type = "GlobalAveragePool"
                del node.attribute[:]


def lower_convolutions(model: onnx.ModelProto, checkpoint: Checkpoint, request: BuildRequest) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """Quantize a float graph, except the operators that stay in float.

    Args:
        model: of a network that reads images.
        checkpoint: its processor prepares the images.
        request: with ``quantize`` and ``calibration``.

    Returns:
        The quantized graph, and what the manifest says of it: ``scheme``, ``weight_bits``, ``products`` that were lowered.

    Raises:
        UserError: nobody gave images.
    """
    settings = request.quantize
    assert settings is not None
    images = _Images(checkpoint, request)
    bits = int(request.preset["weight_bits"])
    percentile = settings["calibration"] == "percentile"
    how = StaticQuantConfig(
        calibration_data_reader=images,
        calibrate_method=CalibrationMethod.Percentile if percentile else CalibrationMethod.MinMax,
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=list(WEIGHTED),
        nodes_to_exclude=sorted(request.reverted),
        per_channel=settings["granularity"] == "per-channel",
        reduce_range=bits == 7,
        extra_options={"CalibPercentile": settings["percentile"]} if percentile else {},
    )
    lowered = len([name for name in weighted(model) if name not in request.reverted])
    # the quantizer works in place
    made = onnx.ModelProto()
    made.CopyFrom(model)
    with silenced():
        quantized = _quantized(made, how)
    return quantized, {"scheme": settings["scheme"], "weight_bits": bits, "products": lowered, "matrices": 0, "tables": 0, "unobserved": 0}


def _quantized(model: onnx.ModelProto, how: Any) -> onnx.ModelProto:
    """Run the quantizer, which writes a file."""
    # it has no way around the disk
    with tempfile.TemporaryDirectory(prefix="imbik-") as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, str(path))
        quantize(str(path), str(Path(folder) / "int8.onnx"), how)
        return onnx.load(str(Path(folder) / "int8.onnx"))


class _Images(CalibrationDataReader):  # type: ignore[misc]
    """Images of the task, one by one, as the quantizer asks for them."""

    def __init__(self, checkpoint: Checkpoint, request: BuildRequest) -> None:
        self._feeds = calibration_feeds(checkpoint, [PIXELS], request, "onnx")

    def get_next(self) -> Mapping[str, NDArray[Any]] | None:
        """Return the next image; None behind the last."""
        return next(self._feeds, None)


def counts(model: onnx.ModelProto, names: Sequence[str]) -> tuple[int, int]:
    """Return how many of the operators with weights run in integers, and how many in float.

    Args:
        model: quantized or not.
        names: the operators with weights of the float graph.
    """
    restored = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    integers = sum(1 for node in model.graph.node if node.name in names and restored.issuperset(node.input[:2]))
    return integers, len(names) - integers
