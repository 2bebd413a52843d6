"""ExecuTorch: runs ``model.pte``, which is made for phones, through ExecuTorch's Python runtime (which loads PyTorch)."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imbik.jobs.quiet import silenced_descriptor
from imbik.runtime.engines.engine import ArtefactEngine, Ids, Session
from imbik.runtime.engines.registry import register_engine

MODEL = "model.pte"
METHOD = "forward"


class ExecuTorchSession(Session):
    """A program that ExecuTorch runs, one row at a time and each at its own length, as a phone would; one thread at a time.

    Args:
        method: ``forward`` of the loaded program.
        names: its inputs in order.
        shortest: fewest tokens that it takes.
    """

    def __init__(self, method: Any, names: tuple[str, ...], shortest: int) -> None:
        self.method, self.names, self.shortest = method, names, shortest
        self._turn = threading.Lock()  # a method holds the tensors of one call

    def compute(self, feed: Mapping[str, Ids]) -> NDArray[np.float32]:
        """Return logits ``(B, L)``."""
        import torch

        columns = [np.asarray(feed[name]) for name in self.names]
        rows = []
        for index, mask in enumerate(feed["attention_mask"]):
            real = np.flatnonzero(mask)
            start, stop = (int(real[0]), int(real[-1]) + 1) if len(real) else (0, 1)
            start, stop = max(0, min(start, stop - self.shortest)), min(len(mask), max(stop, start + self.shortest))
            tensors = [torch.from_numpy(np.ascontiguousarray(column[index : index + 1, start:stop])) for column in columns]
            with self._turn:
                rows.append(self.method.execute(tensors)[0].numpy().copy())
        return np.concatenate(rows).astype(np.float32, copy=False)


@register_engine
class ExecuTorch(ArtefactEngine):
    """ExecuTorch's portable runtime with the XNNPACK backend."""

    name = "executorch"
    title = "ExecuTorch"
    packages = ("executorch", "torch")
    standalone = True  # on a phone; its Python runtime on this machine loads PyTorch
    order = 30

    def load(self, path: Path, manifest: Mapping[str, Any], threads: int) -> ExecuTorchSession:
        """Load ``model.pte``."""
        import torch

        torch.set_num_threads(threads)
        with silenced_descriptor():  # its C++ code reports on the processor
            import executorch.kernels.quantized  # noqa: F401  registers the kernels of quantized programs
            from executorch.runtime import Runtime, Verification

            method = Runtime.get().load_program(path, verification=Verification.Minimal).load_method(METHOD)
        return ExecuTorchSession(method, tuple(manifest["inputs"]), int(manifest["shapes"]["minimum"]))
