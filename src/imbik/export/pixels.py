"""The linear model over small images as an artefact for onnxruntime: one product."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imbik.export.folder import finish
from imbik.export.parity import TOLERANCE, ParityError
from imbik.export.readme import readme
from imbik.images.settings import PIXELS, PROCESSOR_FILE
from imbik.jobs.files import replacing_folder
from imbik.linear.pixels import PixelModel
from imbik.machine import versions
from imbik.runtime.manifest import artefact_files
from imbik.runtime.predictor import load_artefact
from imbik.tasks.outputs import only
from imbik.tasks.retention import agreement
from imbik.types import Examples, Splits, Step

ENGINE = "onnx"
_OPSET, _IR, _IMAGES = 17, 8, 200


def write_pixels(model: PixelModel, directory: Path, splits: Splits, steps: Sequence[Step]) -> None:
    """Write an artefact folder, called done once its logits are those of the model.

    Raises:
        ParityError: they are not.
        UserError: the folder holds other files.
    """
    with replacing_folder(directory, artefact_files) as partial:
        partial.mkdir(parents=True, exist_ok=True)
        (partial / "model.onnx").write_bytes(_graph(model))
        model.processor.save_pretrained(partial)
        manifest = _manifest(model, splits, steps)
        finish(partial, manifest)
        manifest["parity"] = _compared(model, partial, splits)
        (partial / "README.md").write_text(readme(manifest, paired=False), encoding="utf-8")
        finish(partial, manifest)


def _graph(model: PixelModel) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    processor = model.processor
    weights, bias = numpy_helper.from_array(model.weights, "weights"), numpy_helper.from_array(model.bias, "bias")
    nodes = [
        helper.make_node("Flatten", [PIXELS], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"], transB=1),
    ]
    shape = ["batch", processor.channels, processor.height, processor.width]
    given = helper.make_tensor_value_info(PIXELS, TensorProto.FLOAT, shape)
    made = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(model.bias)])
    # the batch has a name in the place of a number: any size will do
    graph = helper.make_graph(nodes, "linear-pixels", [given], [made], [weights, bias])
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    content: bytes = whole.SerializeToString()
    return content


def _manifest(model: PixelModel, splits: Splits, steps: Sequence[Step]) -> dict[str, Any]:
    return {
        "schema": 1,
        "engine": ENGINE,
        "model": "model.onnx",
        "tokenizer": PROCESSOR_FILE,
        "task": splits.task,
        "labels": list(splits.labels),
        "pairs": False,
        "max_length": model.processor.model_max_length,
        "padding": {"side": "right", "id": 0, "type_id": 0},
        "inputs": [PIXELS],
        "steps": [dict(step) for step in steps],
        "notes": [],
        "versions": versions(),
        "architecture": {"family": "linear", "layers": 0},
        "params": int(model.weights.size + model.bias.size),
        "flops": [2.0 * model.weights.size, 0.0, 0.0],
        "graph": {"fused": True, "unfused_because": [], "int8_ops": 0, "float_matmuls": 1},
    }


def _compared(model: PixelModel, directory: Path, splits: Splits) -> dict[str, Any]:
    images = splits.dev.texts[:_IMAGES]
    part = Examples(images, None, None, "")
    expected, found = model.scores(part), only(load_artefact(directory, threads=1).scores(images))
    worst = float(np.abs(found - expected).max())
    relative = worst / max(float(np.abs(expected).max()), 1e-6)
    if not np.isfinite(worst) or relative > TOLERANCE:
        raise ParityError(f"{ENGINE}: logits differ from the model's by up to {worst:.2e} ({relative:.1e} of the largest)")
    gate = {"max_abs": worst, "max_abs_relative": relative, "agreement": agreement(splits.task, found, expected), "texts": len(images)}
    return gate | {"int8_ops": 0, "float_matmuls": 1, "reverted": []}
