"""What an engine is asked to build."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from imbik.types import Examples, Step


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


def quantize_step(steps: Sequence[Step]) -> Mapping[str, Any] | None:
    """Return the settings of a ``quantize`` step that ends a recipe, or None when the model stays in float.

    >>> quantize_step(({"distill": {}}, {"quantize": {"scheme": "dynamic"}}))
    {'scheme': 'dynamic'}
    >>> quantize_step(({"distill": {}},)) is None
    True
    """
    return steps[-1]["quantize"] if steps and "quantize" in steps[-1] else None
