"""ExecuTorch: runs ``model.pte``, which is made for phones, through ExecuTorch's Python runtime (which loads PyTorch)."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imbik.jobs.quiet import silenced_descriptor
from imbik.runtime.engines.engine import ArtefactEngine, Ids, Session
from imbik.runtime.engines.registry import register_engine
from imbik.tasks.outputs import Array, Output, Outputs
from imbik.tasks.registry import task_of

MODEL = "model.pte"
METHOD = "forward"


class ExecuTorchSession(Session):
    """A program that ExecuTorch runs, one row at a time and each at its own length, as a phone would; one thread at a time.

    Args:
        method: ``forward`` of the loaded program.
        names: its inputs in order.
        shortest: fewest tokens that it takes.
        kinds: what it gives, in order.
    """

    def __init__(self, method: Any, names: tuple[str, ...], shortest: int, kinds: Sequence[Output] = (Output(),)) -> None:
        self.method, self.names, self.shortest, self.kinds = method, names, shortest, tuple(kinds)
        self._turn = threading.Lock()  # a method holds the tensors of one call

    def compute(self, feed: Mapping[str, Ids]) -> Outputs:
        """Return logits ``(B, L)``, or several outputs by name."""
        import torch

        columns = [np.asarray(feed[name]) for name in self.names]
        rows: list[list[Array]] = []
        for index, mask in enumerate(feed["attention_mask"]):
            real = np.flatnonzero(mask)
            start, stop = (int(real[0]), int(real[-1]) + 1) if len(real) else (0, 1)
            start, stop = max(0, min(start, stop - self.shortest)), min(len(mask), max(stop, start + self.shortest))
            tensors = [torch.from_numpy(np.ascontiguousarray(column[index : index + 1, start:stop])) for column in columns]
            with self._turn:
                found = [tensor.numpy().copy() for tensor in self.method.execute(tensors)[: len(self.kinds)]]
            width = len(mask)
            rows.append([_widened(one, start, width) if kind.per_token else one for kind, one in zip(self.kinds, found, strict=True)])
        whole = [np.concatenate(parts).astype(np.float32, copy=False) for parts in zip(*rows, strict=True)]
        return whole[0] if len(whole) == 1 else {kind.name: array for kind, array in zip(self.kinds, whole, strict=True)}


def _widened(array: Array, start: int, width: int) -> Array:
    """Return what was computed of the tokens from ``start`` on in a row of ``width`` tokens: ``(1, t, …)`` -> ``(1, width, …)``."""
    out = np.zeros((1, width, *array.shape[2:]), array.dtype)
    out[:, start : start + array.shape[1]] = array
    return out


def load_method(path: Path, threads: int) -> Any:
    """Load the program in a file; return its method ``forward``."""
    import torch

    torch.set_num_threads(threads)
    with silenced_descriptor():  # its C++ code reports on the processor
        import executorch.kernels.quantized  # noqa: F401  registers the kernels of quantized programs
        from executorch.runtime import Runtime, Verification

        return Runtime.get().load_program(path, verification=Verification.Minimal).load_method(METHOD)


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
        method = load_method(path, threads)
        kinds = task_of(manifest["task"]).outputs
        return ExecuTorchSession(method, tuple(manifest["inputs"]), int(manifest["shapes"]["minimum"]), kinds)
