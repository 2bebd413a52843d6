"""All models by name; importing this module imports every model (but no compiled kernel)."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from imbik.errors import UserError
from imbik.recommend.models import baselines, bayesian, knn, logistic, nmf, pmf, svd, weighted
from imbik.recommend.models.model import MODELS, Model, load

__all__ = ["HOMES", "MODELS", "build", "load"]
HOMES = (baselines, knn, svd, nmf, pmf, bayesian, logistic, weighted)


def build(name: str, **settings: Any) -> Model:
    """A model by its name with settings as text or numbers; texts are turned into the type of the field.

    Raises UserError for an unknown name, an unknown setting or a value that does not fit.

    >>> build("bpmf", rank="16").rank
    16
    """
    if name not in MODELS:
        raise UserError("unknown model", found=name, expected=", ".join(MODELS))
    known = {f.name: f for f in fields(MODELS[name])}  # type: ignore[arg-type]
    for key in settings:
        if key not in known:
            raise UserError(f"the {name} model has no such setting", found=key, expected=", ".join(known))
    return MODELS[name](**{k: _value(f"{name}.{k}", known[k].default, v) for k, v in settings.items()})


def _value(where: str, default: Any, value: Any) -> Any:
    if not isinstance(value, str) or isinstance(default, str):
        return value
    kind = type(default)
    if kind is bool and value.lower() in ("true", "yes", "1", "false", "no", "0"):
        return value.lower() in ("true", "yes", "1")
    try:
        if kind is not bool:
            return kind(value)
    except ValueError:
        pass
    raise UserError("a setting has the wrong type", where=where, found=repr(value), expected=kind.__name__)
