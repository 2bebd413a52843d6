"""What an engine is asked to build, and the module that builds it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from imbik.types import Examples


@dataclass(frozen=True)
class BuildRequest:
    """What an engine is to build of a checkpoint.

    Attributes:
        preset: how int8 weights are stored for the processor that will run them
            (:func:`imbik.runtime.processors.int8_preset`).
        quantize: the settings of the checkpoint's ``quantize`` step, every one written out
            (:class:`imbik.methods.quantize.Quantize`); None: the artefact is a float one.
        calibration: texts of the task to observe activations on, never of dev or test; None where nobody gave
            any.
        reverted: operators that stay in float, by the names under which the engine lists them in
            ``operators`` of what ``build`` returns.
        memo: for the engine's own use; the same object in every build of one checkpoint, so that what does
            not depend on ``reverted`` is computed once.
    """

    preset: Mapping[str, Any]
    quantize: Mapping[str, Any] | None = None
    calibration: Examples | None = None
    reverted: frozenset[str] = frozenset()
    memo: dict[str, Any] = field(default_factory=dict)


BUILDERS = {"onnx": "imbik.export.onnx.build", "openvino": "imbik.export.openvino", "executorch": "imbik.export.executorch"}
"""Engine -> the module whose ``build(checkpoint, directory, request)`` writes its files and returns what the manifest records."""


def builder(name: str) -> ModuleType:
    """Import the module that builds an engine's files."""
    return importlib.import_module(BUILDERS[name])
