"""All models by name; importing this module imports every model (but no compiled kernel)."""

from __future__ import annotations

from imbik.errors import UserError
from imbik.recommend.models import baselines, bayesian, knn, logistic, nmf, pmf, svd, weighted
from imbik.recommend.models.model import MODELS, Model, load
from imbik.recommend.models.settings import make_model

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
