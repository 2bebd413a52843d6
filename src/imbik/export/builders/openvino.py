"""Artefacts for OpenVINO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from imbik.export.builders.builder import PADDED, EngineBuilder, RunCode
from imbik.export.builders.registry import register_builder
from imbik.export.request import BuildRequest
from imbik.types import Checkpoint


@register_builder
class OpenVinoBuilder(EngineBuilder):
    """``model.xml`` and ``model.bin``; NNCF quantizes."""

    engine = "openvino"
    image_schemes = ("static",)
    schemes = ("dynamic", "static", "qat", "weight-only")
    code = RunCode(
        packages="openvino tokenizers numpy",
        imports="import openvino",
        opened=PADDED + 'model = openvino.Core().compile_model(str(folder / manifest["model"]), "CPU")',
        answered="""rows = tokenizer.encode_batch(texts)
names = [i.get_any_name() for i in model.inputs]
for row in model({name: np.array([getattr(row, columns[name]) for row in rows]) for name in names})[0]:""",
    )

    def build(self, checkpoint: Checkpoint, directory: Path, request: BuildRequest) -> dict[str, Any]:
        """Write ``model.xml`` and ``model.bin``; see :meth:`EngineBuilder.build`."""
        from imbik.export.openvino import build

        return build(checkpoint, directory, request)
