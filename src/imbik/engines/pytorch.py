"""PyTorch in float32, as a user of transformers runs a model: the baseline that every candidate is compared
with.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from imbik.architecture import architecture, flops, parameters
from imbik.checkpoint import load_checkpoint
from imbik.engines import Ids
from imbik.environment import versions
from imbik.onnx_trace import input_names
from imbik.types import Checkpoint


class TorchSession:
    """A PyTorch model; see :class:`imbik.engines.Session`."""

    def __init__(self, model: Any, names: Sequence[str]) -> None:
        self.model, self.names = model, tuple(names)

    def run(self, input_ids: Ids, attention_mask: Ids, token_type_ids: Ids | None) -> NDArray[np.float32]:
        """Logits ``(B, L)`` of token ids ``(B, T)``."""
        feed = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        tensors = {name: torch.from_numpy(feed[name]) for name in self.names}
        with torch.inference_mode():
            logits: NDArray[np.float32] = self.model(**tensors).logits.float().numpy()
        return logits


def open_folder(directory: Path, threads: int) -> tuple[dict[str, Any], Tokenizer, TorchSession]:
    """A plain checkpoint folder, opened once: what a manifest would say of it, its tokenizer, the model.

    Attention is transformers' default (sdpa where the architecture has it), which is what its users get.

    Raises:
        UserError: as :func:`imbik.checkpoint.load_checkpoint`.
    """
    torch.set_num_threads(threads)
    checkpoint = load_checkpoint(directory, role="model")
    with contextlib.suppress(ValueError, ImportError):
        checkpoint.model.set_attn_implementation("sdpa")
    files = {path.name: {"bytes": path.stat().st_size} for path in sorted(directory.iterdir()) if path.is_file()}
    manifest = manifest_of(checkpoint)
    manifest |= {
        "engine": "pytorch",
        "files": files,
        "model": next(name for name in files if name.endswith(".safetensors")),
    }
    return manifest, tokenizer_of(checkpoint), TorchSession(checkpoint.model, manifest["inputs"])


def manifest_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """The fields of a manifest that do not depend on an engine."""
    model, tokenizer = checkpoint.model, checkpoint.tokenizer
    labels = model.config.id2label
    return {
        "schema": 1,
        "task": checkpoint.task,
        "labels": [str(labels[index]) for index in range(len(labels))],
        "max_length": int(tokenizer.model_max_length),
        "padding": {
            "side": tokenizer.padding_side,
            "token": tokenizer.pad_token,
            "id": int(tokenizer.pad_token_id or 0),
            "type_id": int(tokenizer.pad_token_type_id or 0),
        },
        "truncation_side": tokenizer.truncation_side,
        "inputs": list(input_names(model, tokenizer)),
        "steps": [dict(step) for step in checkpoint.steps],
        "notes": list(checkpoint.notes),
        "pairs": checkpoint.pairs,
        "versions": versions(),
    }


def tokenizer_of(checkpoint: Checkpoint) -> Tokenizer:
    """An own copy of the ``tokenizers`` object behind a checkpoint's tokenizer."""
    return Tokenizer.from_str(checkpoint.tokenizer.backend_tokenizer.to_str())


def facts(model: Any) -> dict[str, Any]:
    """``params``, ``architecture`` and ``flops`` (see :mod:`imbik.architecture`) of a model; runs it three
    times.
    """
    return {"params": parameters(model), "architecture": architecture(model), "flops": flops(model)}
