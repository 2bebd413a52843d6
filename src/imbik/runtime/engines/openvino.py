"""OpenVINO on the CPU: runs ``model.xml`` and ``model.bin``. Running needs ``openvino`` alone."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imbik.runtime.engines.engine import ArtefactEngine, Ids, Session
from imbik.runtime.engines.registry import register_engine
from imbik.tasks.outputs import Array, Outputs

if TYPE_CHECKING:
    from openvino import CompiledModel, Model

MODEL = "model.xml"


class OpenVinoSession(Session):
    """A model that OpenVINO runs. An infer request holds the tensors of one call, so each thread has a request of its own."""

    def __init__(self, compiled: CompiledModel) -> None:
        self.names = tuple(value.get_any_name() for value in compiled.inputs)
        self.outputs = tuple(next(iter(value.get_names()), "logits") for value in compiled.outputs)
        self.compiled = compiled
        self._requests = threading.local()

    def compute(self, feed: Mapping[str, Ids]) -> Outputs:
        """Return logits ``(B, L)``, or several outputs by name."""
        # made once per thread: a new one allocates the tensors of the whole model
        request = getattr(self._requests, "own", None)
        if request is None:
            request = self._requests.own = self.compiled.create_infer_request()
        results = request.infer(feed, share_inputs=True, share_outputs=True)
        # copied, since the next request overwrites its own; bfloat16 is widened, whole numbers stay
        arrays = [_copied(results[index]) for index in range(len(self.outputs))]
        return arrays[0] if len(arrays) == 1 else dict(zip(self.outputs, arrays, strict=True))


def _copied(array: Any) -> Array:
    return np.array(array) if array.dtype.kind in "iub" else np.array(array, dtype=np.float32)


@register_engine
class OpenVino(ArtefactEngine):
    """OpenVINO's CPU plugin. Compiled code is kept in the user's cache folder, so that the next start is faster."""

    name = "openvino"
    title = "OpenVINO"
    packages = ("openvino",)
    order = 20

    def load(self, path: Path, manifest: Mapping[str, Any], threads: int) -> OpenVinoSession:
        """Load ``model.xml`` and ``model.bin``."""
        with path.open("rb") as file:
            if not file.read(16).lstrip().startswith(b"<"):  # OpenVINO would try every format that it knows and print what each says
                raise ValueError("not an XML file")
        weights = path.with_suffix(".bin").name
        digest = str(manifest["files"][weights]["sha256"]) if weights in manifest["files"] else ""
        settings = {
            # one stream with all threads: several would answer more batches at once, but each
            # request later
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": str(manifest["precision"]),
            **_dynamic(manifest),
        }
        return OpenVinoSession(compiled(path, settings, cache_folder(digest)))


def _dynamic(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return the setting that quantizes activations at run time, which is done only where the recipe says so."""
    scheme = manifest["quantisation"] and manifest["quantisation"]["scheme"]
    # the largest group, one scale per row; 0 must be said, as the plugin quantizes by itself
    # otherwise
    return {"DYNAMIC_QUANTIZATION_GROUP_SIZE": str(2**32 - 1) if scheme == "dynamic" else "0"}


def compiled(model: Path | Model, settings: Mapping[str, Any], cache: Path | None = None) -> CompiledModel:
    """Make a model (file or graph) ready for this processor."""
    import openvino

    core = openvino.Core()
    if cache is not None:
        core.set_property({"CACHE_DIR": str(cache)})
    try:
        return core.compile_model(model, "CPU", dict(settings))
    except Exception:
        if cache is None:
            raise
        return compiled(model, settings)  # a damaged cache or a full disk costs the time that it would have saved, no more


def cache_folder(digest: str) -> Path | None:
    """Return where compiled code of the model with this digest is kept: ``IMBIK_CACHE``, else the user's cache folder; None: nowhere.

    An empty ``IMBIK_CACHE``, a model without digest (an artefact that is being made) and a folder that cannot be written to
    switch the cache off.
    """
    root = os.environ.get("IMBIK_CACHE")
    if not digest or root == "":
        return None
    # by the weights' digest: another model never meets this one's compiled code
    folder = (Path(root) if root else _user_cache() / "imbik") / "openvino" / digest[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or "~\\AppData\\Local").expanduser()
    if sys.platform == "darwin":
        return Path("~/Library/Caches").expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
