"""Any module -> ONNX, in float or, where its weights lie on the grids of int8, in integers."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch

from imbik.export.onnx.codebooks import pack_constants
from imbik.export.onnx.graph import Graph, fold_constants
from imbik.export.onnx.trace import OPSET
from imbik.jobs.quiet import silenced, silenced_descriptor
from imbik.modules.export.flat import Flat, exporting
from imbik.modules.export.int8 import lower_rounded
from imbik.runtime.engines.onnx import MODEL


def traced_graph(flat: Flat, batch: bool) -> Graph:
    """Return the module as an ONNX graph with its constants folded.

    Args:
        flat: the module.
        batch: the first axis of every input and output may have any length.

    Raises:
        UserError: it uses what ONNX has no operator for.
    """
    buffer = io.BytesIO()
    names = [*flat.inputs.names, *flat.outputs]
    axes = {name: {0: "batch"} for name in names} if batch else None
    with exporting(flat, "ONNX", "operations that ONNX has"), warnings.catch_warnings(), silenced(), silenced_descriptor(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            flat,
            flat.inputs.values,
            buffer,
            input_names=list(flat.inputs.names),
            output_names=list(flat.outputs),
            dynamic_axes=axes,
            opset_version=OPSET,
            do_constant_folding=True,
            # the exporter of the encoders: it keeps an LSTM and a fake quantization one operator each
            dynamo=False,
        )
    graph = Graph(onnx.load_from_string(buffer.getvalue()))
    fold_constants(graph)
    return graph


def write_onnx(flat: Flat, batch: bool, directory: Path) -> dict[str, Any]:
    """Write ``model.onnx`` and return what the manifest records.

    Raises:
        UserError: as :func:`traced_graph`.
    """
    graph = traced_graph(flat, batch)
    counts = lower_rounded(graph, fused=True) if flat.rounded else {}
    packed = pack_constants(graph)
    onnx.save(graph.finish(), str(directory / MODEL))
    return {"model": MODEL, "graph": {"packed": packed["packed"], **counts}}
