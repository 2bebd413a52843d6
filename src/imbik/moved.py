"""Old addresses of modules, for programs written for imbik 0.1: they still import, with a warning that names the new address."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "augment": ("distillation.augmentation",),
    "checkpoint": ("models.checkpoint", "models.pretrained"),
    "clipping": ("quantization.narrowing",),
    "context": ("training.context",),
    "corpus": ("pretraining.corpus",),
    "documents": ("data.documents",),
    "encoding": ("training.encoding",),
    "engines": ("runtime.engines", "export.builders"),
    "fakequant": ("quantization.fake_quant",),
    "feature_losses": ("distillation.feature_losses", "distillation.attention_losses"),
    "integer": ("quantization.integer",),
    "layer_map": ("students.layer_map",),
    "losses": ("training.losses",),
    "masking": ("pretraining.masking",),
    "metrics": ("tasks.formulas", "tasks.metrics", "tasks.registry"),
    "methods.training": ("training.settings",),
    "modules": ("distillation.any_network",),
    "predictions": ("measure.predictions",),
    "progress": ("jobs.progress",),
    "ranges": ("quantization.ranges",),
    "recipe": ("recipes.recipe",),
    "recommend.baselines": ("recommend.models.baselines",),
    "recommend.bayesian": ("recommend.models.bayesian",),
    "recommend.comparison": ("recommend.evaluation.comparison",),
    "recommend.model": ("recommend.models.model",),
    "recommend.ratings": ("recommend.data.ratings",),
    "recommend.reading": ("recommend.data.reading",),
    "recommend.registry": ("recommend.models.registry",),
    "recommend.splits": ("recommend.data.splits",),
    "results": ("measure.results",),
    "scenario": ("advise.scenario",),
    "tokenising": ("runtime.tokenizer",),
    "train": ("training.loop", "training.settings", "training.prediction", "jobs.seeds"),
}
"""Old module below ``imbik`` -> the modules that hold its names now. It goes with version 0.3."""


RENAMED = {
    "dequantise": "dequantize",
    "quantise": "quantize",
    "requantise": "requantize",
    "Optimised": "Optimized",
    "FactorisedEmbedding": "FactorizedEmbedding",
    "FakeQuantiser": "FakeQuantizer",
    "Tokeniser": "RuntimeTokenizer",
}
"""Old name -> its spelling at the new address."""


class _Finder(MetaPathFinder, Loader):
    """Makes a stand-in module for an old address, whose names come from the new ones."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return a spec for an old address, None for every other name."""
        return ModuleSpec(fullname, self) if fullname.startswith("imbik.") and fullname.removeprefix("imbik.") in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        """Let the stand-in answer for the names of its new addresses."""
        homes = [f"imbik.{home}" for home in MOVED[module.__name__.removeprefix("imbik.")]]
        warnings.warn(f"{module.__name__} is now {' and '.join(homes)}", DeprecationWarning, stacklevel=2)

        def lookup(name: str) -> object:
            for home in homes:
                found = importlib.import_module(home)
                for spelling in (name, RENAMED.get(name, name)):
                    if hasattr(found, spelling):
                        return getattr(found, spelling)
            raise AttributeError(f"module '{module.__name__}' has no attribute '{name}'; its names moved to {' and '.join(homes)}")

        module.__getattr__ = lookup  # type: ignore[method-assign]


def watch() -> None:
    """Answer imports of old addresses, once for each process."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
