"""onnxruntime on the CPU: builds ``model.onnx`` from a checkpoint and runs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnxruntime as ort

from imbik.errors import UserError
from imbik.tasks.outputs import Outputs

if TYPE_CHECKING:
    from imbik.runtime.engines import Ids

MODEL = "model.onnx"


class OnnxSession:
    """A model that onnxruntime runs; see :class:`imbik.runtime.engines.Session`."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.names = tuple(value.name for value in session.get_inputs())
        self.outputs = tuple(value.name for value in session.get_outputs())

    def run(self, input_ids: Ids, attention_mask: Ids, token_type_ids: Ids | None) -> Outputs:
        """Return the model's outputs of token ids ``(B, T)``: logits ``(B, L)``, or several by name."""
        feed = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        arrays = self.session.run(None, {name: feed[name] for name in self.names})
        return arrays[0] if len(arrays) == 1 else dict(zip(self.outputs, arrays, strict=True))


def load(directory: Path, manifest: Mapping[str, Any], threads: int) -> OnnxSession:
    """Open an artefact's model.

    Raises:
        UserError: onnxruntime cannot open the file.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    path = directory / str(manifest.get("model", MODEL))
    try:
        return OnnxSession(ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]))
    except Exception as error:
        written = manifest.get("versions", {}).get("onnxruntime", "?")
        raise UserError(
            "onnxruntime cannot open the model",
            where=path,
            found=str(error).splitlines()[0][:200],
            fix=f"export it again (written for onnxruntime {written}, installed: {ort.__version__})",
        ) from None
