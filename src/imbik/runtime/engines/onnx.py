"""onnxruntime on the CPU: runs ``model.onnx``. It is part of the thin install."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imbik.runtime.engines.engine import ArtefactEngine, Ids, Session
from imbik.runtime.engines.registry import register_engine
from imbik.tasks.outputs import Outputs

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

MODEL = "model.onnx"


class OnnxSession(Session):
    """A model that onnxruntime runs."""

    def __init__(self, session: InferenceSession) -> None:
        self.session = session
        self.names = tuple(value.name for value in session.get_inputs())
        self.outputs = tuple(value.name for value in session.get_outputs())

    def compute(self, feed: Mapping[str, Ids]) -> Outputs:
        """Return logits ``(B, L)``, or several outputs by name."""
        arrays = self.session.run(None, feed)
        return arrays[0] if len(arrays) == 1 else dict(zip(self.outputs, arrays, strict=True))


@register_engine
class Onnx(ArtefactEngine):
    """onnxruntime's CPU provider."""

    name = "onnx"
    title = "onnxruntime"
    packages = ("onnxruntime",)
    order = 10

    def load(self, path: Path, manifest: Mapping[str, Any], threads: int) -> OnnxSession:
        """Load ``model.onnx``."""
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        # a Transformer's graph is a chain: threads for parallel branches would only compete with
        # the others
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        # errors only: warnings about shapes and providers are nothing that a user could act on
        options.log_severity_level = 3
        return OnnxSession(ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]))
