"""Engines run a model behind :class:`imbik.runtime.Predictor`. One file per engine; imported when it is asked
for.

A module here has ``load(directory, manifest, threads) -> Session`` and, where artefacts are made for the
engine, ``build(checkpoint, directory, preset) -> dict`` which writes the engine's files and returns what the
manifest records of them.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from imbik.errors import MissingExtra, UserError

Ids = NDArray[np.int64]


class Session(Protocol):
    """A loaded model."""

    def run(self, input_ids: Ids, attention_mask: Ids, token_type_ids: Ids | None) -> NDArray[np.float32]:
        """Logits ``(B, L)`` of token ids ``(B, T)``."""


@dataclass(frozen=True)
class Engine:
    """Where an engine's module is and which packages it needs to run and to build."""

    module: str
    package: str
    extra: str
    builds: bool


ENGINES: dict[str, Engine] = {
    "onnx": Engine("imbik.engines.onnx", "onnxruntime", "compress", builds=True),
    "pytorch": Engine("imbik.engines.pytorch", "torch", "compress", builds=False),
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
