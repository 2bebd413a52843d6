"""The names that README, CONTRIBUTING, docs and examples give are imported from where they say."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import pytest

NAMES = {
    "imbik": "__version__ load_data load_checkpoint save_checkpoint load_recipe load_artefact write_report distill AttentionKL "
    "AttentionMSE FeatureMoments HiddenCosine HiddenMSE LogitsKL RelationKL UserError",
    "imbik.augment": "Augmentation",
    "imbik.checkpoint": "load_checkpoint save_checkpoint labels_of",
    "imbik.cli": "main",
    "imbik.clipping": "",
    "imbik.compress": "compress Limits",
    "imbik.context": "Context",
    "imbik.corpus": "build_blocks",
    "imbik.data": "load_data",
    "imbik.documents": "open_documents",
    "imbik.errors": "UserError",
    "imbik.export": "export",
    "imbik.fakequant": "",
    "imbik.feature_losses": "AttentionKL AttentionMSE FeatureMoments HiddenCosine HiddenMSE LogitsKL RelationKL",
    "imbik.finetune": "finetune",
    "imbik.integer": "accumulate affine fixed_point quantise requantise symmetric",
    "imbik.layer_map": "layer_map",
    "imbik.losses": "label_loss distillation_loss",
    "imbik.masking": "Masker masked_output",
    "imbik.measure": "measure",
    "imbik.methods": "method",
    "imbik.methods.distill": "Distill",
    "imbik.methods.minilm": "MiniLM",
    "imbik.methods.training": "Optimised Trained TrainedOnDev",
    "imbik.predictions": "Predictions save_predictions",
    "imbik.progress": "Silent",
    "imbik.ranges": "",
    "imbik.recommend": "BayesianPMF BiasedSVD Biases GlobalMean ItemKNN LogisticPMF MODELS Model MostPopular NMF PMF Ratings Split "
    "TruncatedSVD WeightedALS compare evaluate k_folds leave_last_out load random_split read_ratings time_split",
    "imbik.runtime": "load_artefact Predictor",
    "imbik.testing": "check_method",
    "imbik.tokenising": "",
    "imbik.train": "fit Training",
    "imbik.types": "Advice Artefact Checkpoint Examples Measurement Recipe Scenario Splits",
}
"""Module -> names, as README, CONTRIBUTING, docs and examples give them; without a name the module itself is named."""


@pytest.mark.parametrize("module", NAMES)
def test_a_documented_name_is_imported(module):
    found = importlib.import_module(module)
    for name in NAMES[module].split():
        assert getattr(found, name) is not None, f"from {module} import {name}"


def test_what_imbik_exports_is_still_there():
    import imbik as package

    assert set(NAMES["imbik"].split()) <= set(package.__all__)
    assert set(NAMES["imbik.recommend"].split()) <= set(importlib.import_module("imbik.recommend").__all__)


def test_documented_calls_take_the_arguments_they_took():
    """Keyword arguments as docs and docstrings name them."""
    calls: dict[Callable[..., Any], str] = {
        importlib.import_module("imbik.compress").compress: "teacher splits directory source recipes engines limits minutes threads lang "
        "progress say save_every preset",
        importlib.import_module("imbik.finetune").finetune: "base splits directory settings changes max_length seed progress say",
        importlib.import_module("imbik.runtime").load_artefact: "path threads batch_tokens length_multiple engine_name",
        importlib.import_module("imbik.data").load_data: "source labels task text label metric unlabelled seed say",
        importlib.import_module("imbik.report").write_report: "results path lang prices scenarios loads devices architectures",
    }
    fields = {
        name
        for kind in (importlib.import_module("imbik.compress").Options, importlib.import_module("imbik.data.columns").Names)
        for name in kind.__annotations__
    }  # behind **
    for call, names in calls.items():
        taken = set(inspect.signature(call).parameters)
        missing = (
            set(names.split())
            - taken
            - (fields if inspect.Parameter.VAR_KEYWORD in {p.kind for p in inspect.signature(call).parameters.values()} else set())
        )
        assert not missing, f"{call.__module__}.{call.__qualname__}: {missing}"
