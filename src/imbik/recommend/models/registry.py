"""All models by name; importing this module imports every model (but no compiled kernel)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imbik.errors import UserError
from imbik.jobs.paths import with_home
from imbik.jobs.reading import damage_told
from imbik.recommend.data.ids import id_table
from imbik.recommend.data.ratings import Compressed
from imbik.recommend.models import baselines, bayesian, knn, logistic, nmf, pmf, svd, weighted
from imbik.recommend.models.model import MODELS, Model
from imbik.recommend.models.settings import check_limits, make_model
from imbik.recommend.models.storage import check_compressed, read_folder

__all__ = ["HOMES", "MODELS", "build", "load"]
HOMES = (baselines, knn, svd, nmf, pmf, bayesian, logistic, weighted)


def build(name: str, **settings: object) -> Model:
    """Return a model by its name with settings as text or numbers; texts are turned into the type of the field.

    Raises:
        UserError: an unknown name, an unknown setting or a value that does not fit.

    >>> build("bpmf", rank="16").rank
    16
    """
    if name not in MODELS:
        raise UserError("unknown model", found=name, expected=", ".join(MODELS))
    return make_model(MODELS[name], settings)


def load(folder: str | Path) -> Model:
    """Return the model that ``save`` wrote to a folder; it predicts exactly as it did.

    Raises:
        UserError: a folder that holds no model, one of another format, or a damaged one.
    """
    expected = "what `imbik recommend fit --out` wrote"
    with damage_told("the model cannot be read", with_home(folder), expected=expected, fix="fit again"):
        document, arrays = read_folder(with_home(folder))
        model = build(document["model"], **document["settings"])
        check_limits(model)
        model.user_ids_, model.item_ids_ = id_table(document["users"]), id_table(document["items"])
        model.seen_ = Compressed(arrays.pop("seen.indptr"), arrays.pop("seen.indices"), np.zeros(0, np.float32))
        check_compressed(model.seen_, len(model.user_ids_), len(model.item_ids_))
        model.arrays_, model.facts_, model.range_ = arrays, document["facts"], document["range"]
        model._codes_ = {}
        model._check_learnt()
    return model
