"""imbik: make Transformer models small, fast and cheap, and prove it.

``import imbik`` is cheap: a public name loads its room (and what that room needs) when it is first used. The verbs bear their
room's name and are imported from it: ``from imbik.compress import compress``, likewise ``finetune``, ``export`` and ``measure``.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_ROOMS = {
    "load_data": "imbik.data.load",
    "load_checkpoint": "imbik.models.checkpoint",
    "save_checkpoint": "imbik.models.checkpoint",
    "load_recipe": "imbik.recipes.recipe",
    "load_artefact": "imbik.runtime.predictor",
    "write_report": "imbik.report.render",
    "distill": "imbik.distillation.any_network",
    **dict.fromkeys(
        ("AttentionKL", "AttentionMSE", "FeatureMoments", "HiddenCosine", "HiddenMSE", "LogitsKL", "RelationKL"),
        "imbik.distillation.feature_losses",
    ),
    "UserError": "imbik.errors",
}

__all__ = ["__version__", *sorted(_ROOMS)]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'imbik' has no attribute {name!r}")
    return getattr(importlib.import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return __all__
