"""Any module -> OpenVINO, through its ONNX graph."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from imbik.errors import UserError
from imbik.modules.arguments import first_line
from imbik.modules.export.flat import Flat
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
    try:
        model = openvino.Core().read_model(io.BytesIO(graph.finish().SerializeToString()))
        openvino.save_model(model, directory / MODEL, compress_to_fp16=False)
    except Exception as error:
        raise UserError(
            "the module cannot be exported to OpenVINO",
            where=type(flat.inner).__name__,
            found=first_line(error),
            fix="choose another engine",
        ) from error
    return {"model": MODEL, "graph": counts}
