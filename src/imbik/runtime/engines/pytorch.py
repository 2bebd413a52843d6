"""PyTorch in float32 on the processor, as a user of transformers runs a model: the baseline that every candidate is
compared with (``pytorch``). And the same model in half precision on a GPU, where there is one (``pytorch-cuda``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imbik.errors import UserError
from imbik.runtime.engines.engine import CheckpointEngine, Ids, Opened, Session
from imbik.runtime.engines.registry import BASELINE, register_engine
from imbik.tasks.outputs import Array, Outputs
from imbik.tasks.registry import DEFAULT, task_of
from imbik.types import Note

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

CUDA = "pytorch-cuda"


def cuda_dtype() -> torch.dtype | None:
    """Return what this machine offers beyond the float32 baseline: bfloat16 where its CUDA device multiplies it natively, float16 on
    an older one; None without a CUDA device that this PyTorch can use.
    """
    import torch

    if not torch.cuda.is_available():
        return None
    # emulated bf16 is slower than float16
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


class TorchSession(Session):
    """A PyTorch model.

    Args:
        model: a transformers model; moved and cast in place, once, where a device or a dtype is given.
        task: its task, which says what it gives.
        names: its inputs.
        device: where it runs; None: where it is.
        dtype: what it computes in; None: as it is.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        names: Sequence[str],
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        *,
        task: str = DEFAULT,
    ) -> None:
        import torch

        self.model = model if device is None and dtype is None else model.to(device=device, dtype=dtype)
        self.names = tuple(names)
        self.outputs = task_of(task).outputs
        self.device = torch.device(device or "cpu")

    def compute(self, feed: Mapping[str, Ids]) -> Outputs:
        """Return the outputs, float32; they are back in main memory when this returns, so a GPU has finished."""
        import torch

        from imbik.models.inputs import read_outputs

        tensors = {name: torch.from_numpy(feed[name]).to(self.device) for name in self.names}
        with torch.inference_mode():
            outputs = read_outputs(self.model(**tensors), self.outputs)
        if isinstance(outputs, Mapping):
            return {name: tensor.cpu().numpy() for name, tensor in outputs.items()}
        array: Array = outputs.cpu().numpy()
        return array

    def facts(self) -> dict[str, Any]:
        """Return ``params``, ``architecture`` and ``flops`` of the model."""
        from imbik.models.facts import facts

        return facts(self.model)


@register_engine
class PyTorch(CheckpointEngine):
    """PyTorch on the processor in float32. Attention is transformers' default (sdpa where the architecture has it), which is what its
    users get.
    """

    name = BASELINE
    title = "PyTorch"
    packages = ("torch",)
    order = 40

    def open(self, directory: Path, threads: int) -> Opened:
        """Open a plain checkpoint folder.

        Raises:
            UserError: as :func:`imbik.models.pretrained.load_checkpoint`.
        """
        import torch

        from imbik.models.facts import manifest_of
        from imbik.models.pretrained import load_checkpoint
        from imbik.models.tokenizers import tokenizer_of

        where, dtype, recorded = self._placed()
        # for the whole process, which PyTorch offers no narrower way of
        torch.set_num_threads(threads)
        checkpoint = load_checkpoint(directory, role="model")
        # not every architecture has it
        with contextlib.suppress(ValueError, ImportError):
            checkpoint.model.set_attn_implementation("sdpa")
        files = {path.name: {"bytes": path.stat().st_size} for path in sorted(directory.iterdir()) if path.is_file()}
        manifest = manifest_of(checkpoint) | {
            "engine": self.name,
            "attention": checkpoint.model.config._attn_implementation,
            "files": files,
            "model": next(name for name in files if name.endswith(".safetensors")),
        }
        session = TorchSession(checkpoint.model, manifest["inputs"], where, dtype, task=checkpoint.task)
        return Opened(manifest | recorded, tokenizer_of(checkpoint), session)

    def notes(self, manifest: Mapping[str, Any]) -> tuple[Note, ...]:
        """Return that it needs PyTorch, and that it computes attention the slow way where its architecture has no other."""
        return (Note.of("pytorch"), *([Note.of("eager")] if manifest["attention"] == "eager" else []))

    def _placed(self) -> tuple[str | None, torch.dtype | None, dict[str, str]]:
        """Return device and dtype of the model, and what the manifest records of them."""
        return None, None, {}


@register_engine
class PyTorchCuda(PyTorch):
    """PyTorch on the current CUDA device in :func:`cuda_dtype`; the manifest then has ``device`` and ``precision``."""

    name = CUDA
    devices = ("cuda",)
    shown_only = True
    order = 50

    def available(self) -> bool:
        """Return whether PyTorch is here and finds a CUDA device."""
        return super().available() and cuda_dtype() is not None

    def notes(self, manifest: Mapping[str, Any]) -> tuple[Note, ...]:
        """Return where it ran and what it needs."""
        return (Note.of("cuda", device=manifest["device"], precision=manifest["precision"]),)

    def _placed(self) -> tuple[str | None, torch.dtype | None, dict[str, str]]:
        import torch

        dtype = cuda_dtype()
        if dtype is None:
            raise UserError(
                "needs a GPU",
                where=self.name,
                found=f"no CUDA device that PyTorch {torch.__version__} can use",
                fix="install a CUDA build of PyTorch and the GPU's driver, or leave the engine out: pytorch and onnx run on the processor",
            )
        precision = {torch.bfloat16: "bf16", torch.float16: "fp16"}[dtype]
        return "cuda", dtype, {"device": torch.cuda.get_device_name(), "precision": precision}
