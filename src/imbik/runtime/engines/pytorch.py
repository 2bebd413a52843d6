"""PyTorch in float32 on the processor, as a user of transformers runs a model: the baseline that every candidate is
compared with (``pytorch``). And the same model in half precision on a GPU, where there is one (``pytorch-cuda``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from imbik.errors import UserError
from imbik.machine import versions
from imbik.models.facts import architecture, flops, parameters
from imbik.models.inputs import input_names, read_outputs
from imbik.models.pretrained import load_checkpoint
from imbik.runtime.engines import Ids
from imbik.tasks.outputs import Array, Outputs
from imbik.tasks.registry import DEFAULT, task_of
from imbik.types import Checkpoint

CUDA = "pytorch-cuda"
_PRECISIONS = {torch.bfloat16: "bf16", torch.float16: "fp16"}


def cuda_dtype() -> torch.dtype | None:
    """What this machine offers beyond the float32 baseline: bfloat16 where its CUDA device multiplies it natively, float16 on an
    older one; None without a CUDA device that this PyTorch can use.
    """
    if not torch.cuda.is_available():
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


class TorchSession:
    """A PyTorch model; see :class:`imbik.runtime.engines.Session`.

    Args:
        model: a transformers model; moved and cast in place, once, where a device or a dtype is given.
        task: its task, which says what it gives.
        names: its inputs.
        device: where it runs; None: where it is.
        dtype: what it computes in; None: as it is.
    """

    def __init__(
        self,
        model: Any,
        names: Sequence[str],
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        *,
        task: str = DEFAULT,
    ) -> None:
        self.outputs = task_of(task).outputs
        self.model = model if device is None and dtype is None else model.to(device=device, dtype=dtype)
        self.names, self.device = tuple(names), torch.device(device or "cpu")

    def run(self, input_ids: Ids, attention_mask: Ids, token_type_ids: Ids | None) -> Outputs:
        """Return the model's outputs of token ids ``(B, T)``, float32; they are back in main memory, so a GPU has finished."""
        feed = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        tensors = {name: torch.from_numpy(feed[name]).to(self.device) for name in self.names}
        with torch.inference_mode():
            outputs = read_outputs(self.model(**tensors), self.outputs)
        if isinstance(outputs, Mapping):
            return {name: tensor.cpu().numpy() for name, tensor in outputs.items()}
        array: Array = outputs.cpu().numpy()
        return array


def open_folder(directory: Path, threads: int, engine: str = "pytorch") -> tuple[dict[str, Any], Tokenizer, TorchSession]:
    """A plain checkpoint folder, opened once: what a manifest would say of it, its tokenizer, the model.

    Attention is transformers' default (sdpa where the architecture has it), which is what its users get.

    Args:
        directory: the folder.
        threads: compute threads of the processor.
        engine: ``pytorch`` (float32 on the processor) or ``pytorch-cuda`` (:func:`cuda_dtype` on the current CUDA device; the manifest
            then has ``device`` and ``precision``).

    Raises:
        UserError: as :func:`imbik.models.pretrained.load_checkpoint`; no CUDA device where one is asked for.
    """
    dtype = _required_dtype() if engine == CUDA else None
    torch.set_num_threads(threads)
    checkpoint = load_checkpoint(directory, role="model")
    with contextlib.suppress(ValueError, ImportError):
        checkpoint.model.set_attn_implementation("sdpa")
    files = {path.name: {"bytes": path.stat().st_size} for path in sorted(directory.iterdir()) if path.is_file()}
    manifest = manifest_of(checkpoint)
    manifest |= {
        "engine": engine,
        "files": files,
        "model": next(name for name in files if name.endswith(".safetensors")),
    }
    if dtype is None:
        return manifest, tokenizer_of(checkpoint), TorchSession(checkpoint.model, manifest["inputs"], task=checkpoint.task)
    manifest |= {"device": torch.cuda.get_device_name(), "precision": _PRECISIONS[dtype]}
    return manifest, tokenizer_of(checkpoint), TorchSession(checkpoint.model, manifest["inputs"], "cuda", dtype, task=checkpoint.task)


def _required_dtype() -> torch.dtype:
    """:func:`cuda_dtype`, or the refusal where it offers nothing."""
    dtype = cuda_dtype()
    if dtype is None:
        raise UserError(
            "needs a GPU",
            where=CUDA,
            found=f"no CUDA device that PyTorch {torch.__version__} can use",
            fix="install a CUDA build of PyTorch and the GPU's driver, or leave the engine out: pytorch and onnx run on the processor",
        )
    return dtype


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
    """``params``, ``architecture`` and ``flops`` (see :mod:`imbik.models.facts`) of a model; runs it three
    times.
    """
    return {"params": parameters(model), "architecture": architecture(model), "flops": flops(model)}
