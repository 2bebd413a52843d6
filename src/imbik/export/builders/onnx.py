"""Artefacts for onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from imbik.export.builders.builder import PADDED, EngineBuilder, RunCode
from imbik.export.builders.registry import register_builder
from imbik.export.request import BuildRequest
from imbik.types import Checkpoint


@register_builder
class OnnxBuilder(EngineBuilder):
    """``model.onnx``: fused where the architecture allows, int8 where the request asks for it."""

    engine = "onnx"
    image_schemes = ("dynamic", "static")
    schemes = ("dynamic", "static", "qat", "weight-only", "integer")
    code = RunCode(
        packages="onnxruntime tokenizers numpy",
        imports="import onnxruntime",
        opened=PADDED + 'session = onnxruntime.InferenceSession(str(folder / manifest["model"]))',
        answered="""rows = tokenizer.encode_batch(texts)
feed = {i.name: np.array([getattr(row, columns[i.name]) for row in rows]) for i in session.get_inputs()}
for row in session.run(None, feed)[0]:""",
    )

    def build(self, checkpoint: Checkpoint, directory: Path, request: BuildRequest) -> dict[str, Any]:
        """Write ``model.onnx``; see :meth:`EngineBuilder.build`."""
        from imbik.export.onnx.build import build

        return build(checkpoint, directory, request)
