"""ExecuTorch: builds ``model.pte`` for phones and runs it here through ExecuTorch's Python runtime (which loads PyTorch)."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imbik.errors import MissingExtra, UserError

if TYPE_CHECKING:
    from imbik.runtime.engines import Ids

MODEL = "model.pte"
METHOD = "forward"


class ExecuTorchSession:
    """A program that ExecuTorch runs, one row at a time and each at its own length, as a phone would.

    Args:
        method: ``forward`` of the loaded program.
        names: its inputs in order.
        shortest: fewest tokens that it takes.
    """

    def __init__(self, method: Any, names: tuple[str, ...], shortest: int) -> None:
        self.method, self.names, self.shortest = method, names, shortest

    def run(self, input_ids: Ids, attention_mask: Ids, token_type_ids: Ids | None) -> NDArray[np.float32]:
        """Logits ``(B, L)`` of token ids ``(B, T)``."""
        import torch

        feed = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        columns = [np.asarray(feed[name]) for name in self.names]
        rows = []
        for index, mask in enumerate(attention_mask):
            real = np.flatnonzero(mask)
            start, stop = (int(real[0]), int(real[-1]) + 1) if len(real) else (0, 1)
            start, stop = max(0, min(start, stop - self.shortest)), min(len(mask), max(stop, start + self.shortest))
            tensors = [torch.from_numpy(np.ascontiguousarray(column[index : index + 1, start:stop])) for column in columns]
            rows.append(self.method.execute(tensors)[0].numpy().copy())
        return np.concatenate(rows).astype(np.float32, copy=False)


def load(directory: Path, manifest: Mapping[str, Any], threads: int) -> ExecuTorchSession:
    """Open an artefact's program.

    Raises:
        MissingExtra: ExecuTorch's Python runtime needs ``torch``, which is not installed.
        UserError: ExecuTorch cannot open the file.
    """
    path = directory / str(manifest.get("model", MODEL))
    try:
        import torch
    except ImportError:
        raise MissingExtra("mobile", "torch") from None
    torch.set_num_threads(threads)
    try:
        with _quiet():
            import executorch.kernels.quantized  # noqa: F401  registers the kernels of quantized programs
            from executorch.runtime import Runtime, Verification

            method = Runtime.get().load_program(path, verification=Verification.Minimal).load_method(METHOD)
    except Exception as error:
        written = manifest.get("versions", {}).get("executorch", "?")
        raise UserError(
            "ExecuTorch cannot open the program",
            where=path,
            found=(str(error).strip().splitlines() or [type(error).__name__])[0][:200],
            fix=f"export it again (written for executorch {written})",
        ) from None
    return ExecuTorchSession(method, tuple(manifest["inputs"]), int((manifest.get("shapes") or {}).get("minimum", 1)))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """ExecuTorch's C++ code reports on the processor to standard error, past Python's own stream."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
