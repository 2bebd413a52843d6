"""Artefacts for ExecuTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from imbik.export.builders.builder import EngineBuilder, RunCode
from imbik.export.builders.registry import register_builder
from imbik.export.request import BuildRequest
from imbik.types import Checkpoint


@register_builder
class ExecuTorchBuilder(EngineBuilder):
    """``model.pte`` for the XNNPACK backend."""

    engine = "executorch"
    schemes = ("dynamic", "static")
    code = RunCode(
        packages="executorch torch tokenizers numpy",
        imports="import torch\nimport executorch.kernels.quantized\nfrom executorch.runtime import Runtime",
        opened='tokenizer.enable_padding(length=manifest["shapes"]["minimum"], pad_id=manifest["padding"]["id"])  # longer ones stay\n'
        'method = Runtime.get().load_program(folder / manifest["model"]).load_method("forward")',
        answered="""for text in tokenizer.encode_batch(texts):
    feed = [torch.tensor([getattr(text, columns[name])]) for name in manifest["inputs"]]
    row = method.execute(feed)[0][0].numpy()""",
    )

    def takes(self, architecture: str | None) -> bool:
        """Return whether programs of any length can be made: torch.export writes an LSTM as so many steps as its example has."""
        return architecture != "imbik_lstm"

    def build(self, checkpoint: Checkpoint, directory: Path, request: BuildRequest) -> dict[str, Any]:
        """Write ``model.pte``; see :meth:`EngineBuilder.build`."""
        from imbik.export.executorch import build

        return build(checkpoint, directory, request)
