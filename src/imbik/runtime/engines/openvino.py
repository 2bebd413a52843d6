"""OpenVINO on the CPU: builds ``model.xml`` and ``model.bin`` from a checkpoint and runs them. Running needs ``openvino`` alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino

from imbik.errors import UserError
from imbik.tasks.outputs import Outputs

if TYPE_CHECKING:
    from imbik.runtime.engines import Ids

MODEL = "model.xml"


class OpenVinoSession:
    """A model that OpenVINO runs; see :class:`imbik.runtime.engines.Session`."""

    def __init__(self, compiled: Any) -> None:
        self.names = tuple(value.get_any_name() for value in compiled.inputs)
        self.outputs = tuple(next(iter(value.get_names()), "logits") for value in compiled.outputs)
        self.compiled, self.request = compiled, compiled.create_infer_request()

    def run(self, input_ids: Ids, attention_mask: Ids, token_type_ids: Ids | None) -> Outputs:
        """Return the model's outputs of token ids ``(B, T)``: logits ``(B, L)``, or several by name."""
        feed = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        found = self.request.infer({name: feed[name] for name in self.names}, share_inputs=True, share_outputs=True)
        arrays = [np.array(found[index], dtype=np.float32) for index in range(len(self.outputs))]  # the next request overwrites its own
        return arrays[0] if len(arrays) == 1 else dict(zip(self.outputs, arrays, strict=True))


def load(directory: Path, manifest: Mapping[str, Any], threads: int) -> OpenVinoSession:
    """Open an artefact's model; compiled code is kept in the user's cache folder, so that the next start is faster.

    Raises:
        UserError: OpenVINO cannot open the file.
    """
    path = directory / str(manifest.get("model", MODEL))
    digest = str((manifest["files"].get(path.with_suffix(".bin").name) or {}).get("sha256", ""))
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": str(manifest.get("precision", "f32")),
        **_dynamic(manifest),
    }
    try:
        return OpenVinoSession(compiled(path, settings, cache_folder(digest)))
    except Exception as error:
        written = manifest.get("versions", {}).get("openvino", "?")
        raise UserError(
            "OpenVINO cannot open the model",
            where=path,
            found=(str(error).strip().splitlines() or [type(error).__name__])[-1][:200],
            fix=f"export it again (written for openvino {written}, installed: {openvino.__version__.split('-')[0]})",
        ) from None


def _dynamic(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Activations are quantized at run time only where the recipe says so."""
    scheme = (manifest.get("quantisation") or {}).get("scheme")
    return {"DYNAMIC_QUANTIZATION_GROUP_SIZE": str(2**32 - 1) if scheme == "dynamic" else "0"}


def compiled(model: Any, settings: Mapping[str, Any], cache: Path | None = None) -> Any:
    """A model (file or graph) made ready for this processor."""
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
    """Where compiled code of the model with this digest is kept: ``IMBIK_CACHE``, else the user's cache folder; None: nowhere.

    An empty ``IMBIK_CACHE``, a model without digest (an artefact that is being made) and a folder that cannot be written to
    switch the cache off.
    """
    root = os.environ.get("IMBIK_CACHE")
    if not digest or root == "":
        return None
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
