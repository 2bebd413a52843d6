"""Engines run a model behind :class:`imbik.runtime.predictor.Predictor`. One file per engine; imported when it is asked
for.

A module here has ``load(directory, manifest, threads) -> Session`` and, where artefacts are made for the
engine, ``build(checkpoint, directory, request: BuildRequest) -> dict`` which writes the engine's files and
returns what the manifest records of them.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from imbik.errors import MissingExtra, UserError
from imbik.tasks.outputs import Outputs
from imbik.types import Step

Ids = NDArray[np.int64]


class Session(Protocol):
    """A loaded model."""

    def run(self, input_ids: Ids, attention_mask: Ids, token_type_ids: Ids | None) -> Outputs:
        """Return the model's outputs of token ids ``(B, T)``: logits ``(B, L)``, or what its task says, several by name."""


@dataclass(frozen=True)
class Engine:
    """Where an engine's module is, which packages it needs to run and to build, and which quantization
    schemes it can lower."""

    module: str
    package: str
    extra: str
    builds: bool
    schemes: tuple[str, ...] = ()


_ONNX_SCHEMES = ("dynamic", "static", "qat", "weight-only", "integer")
_OPENVINO_SCHEMES = ("dynamic", "static", "qat", "weight-only")

ENGINES: dict[str, Engine] = {
    "onnx": Engine("imbik.runtime.engines.onnx", "onnxruntime", "compress", builds=True, schemes=_ONNX_SCHEMES),
    "openvino": Engine("imbik.runtime.engines.openvino", "openvino", "openvino", builds=True, schemes=_OPENVINO_SCHEMES),
    "executorch": Engine("imbik.runtime.engines.executorch", "executorch", "mobile", builds=True, schemes=("dynamic", "static")),
    "pytorch": Engine("imbik.runtime.engines.pytorch", "torch", "compress", builds=False),
    "pytorch-cuda": Engine("imbik.runtime.engines.pytorch", "torch", "compress", builds=False),
}
"""Engine name -> what is known of it. A new engine is one file and one line here."""


def engine(name: str, *, where: Any = None) -> ModuleType:
    """The module of an engine.

    Raises:
        UserError: there is no such engine.
        MissingExtra: the package that it needs is not installed.
    """
    if name not in ENGINES:
        raise UserError(f"unknown engine '{name}'", where=where, expected=", ".join(ENGINES))
    known = ENGINES[name]
    if importlib.util.find_spec(known.package) is None:
        raise MissingExtra(known.extra, known.package)
    return importlib.import_module(known.module)


def buildable() -> list[str]:
    """Engines that artefacts can be made for here: those that build and whose package is installed."""
    return [name for name, known in ENGINES.items() if known.builds and importlib.util.find_spec(known.package) is not None]


def quantize_step(steps: Sequence[Step]) -> Mapping[str, Any] | None:
    """The settings of a ``quantize`` step that ends a recipe, or None when the model stays in float.

    >>> quantize_step(({"distill": {}}, {"quantize": {"scheme": "dynamic"}}))
    {'scheme': 'dynamic'}
    >>> quantize_step(({"distill": {}},)) is None
    True
    """
    return steps[-1]["quantize"] if steps and "quantize" in steps[-1] else None


def refusal(name: str, steps: Sequence[Step]) -> str | None:
    """Why an engine cannot build a model with these steps, or None when it can."""
    settings = quantize_step(steps)
    if settings is None or settings.get("scheme", "dynamic") in ENGINES[name].schemes:
        return None
    return f"{name} cannot lower the quantization scheme '{settings['scheme']}' (it lowers {', '.join(ENGINES[name].schemes) or 'none'})"
