"""Any module -> OpenVINO, through its ONNX graph."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from imbik.modules.export.flat import Flat, exporting
from imbik.modules.export.int8 import lower_rounded
from imbik.modules.export.onnx import traced_graph
from imbik.runtime.engines.openvino import MODEL


def write_openvino(flat: Flat, batch: bool, directory: Path) -> dict[str, Any]:
    """Write ``model.xml`` and ``model.bin``, and return what the manifest records.

    Raises:
        UserError: the module has no ONNX graph, or OpenVINO cannot read it.
    """
    import openvino

    graph = traced_graph(flat, batch)
    counts = lower_rounded(graph, fused=False) if flat.rounded else {}
    with exporting(flat, "OpenVINO"):
        model = openvino.Core().read_model(io.BytesIO(graph.finish().SerializeToString()))
        openvino.save_model(model, directory / MODEL, compress_to_fp16=False)
    return {"model": MODEL, "graph": counts}
