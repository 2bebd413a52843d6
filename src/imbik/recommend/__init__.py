"""Matrix factorisation of ratings: SVD, NMF, PMF, logistic PMF and Bayesian PMF behind one interface.

Names are loaded on first use (PEP 562): importing this package costs neither numba nor scipy.

>>> from imbik.recommend import PMF, Ratings
>>> model = PMF(rank=1).fit(Ratings.of(["ada", "ada", "bob"], ["x", "y", "x"], [5, 4, 2]))
>>> [item for item, score in model.recommend("bob", k=1)]
['y']
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Ratings": "data.ratings",
    "read_ratings": "data.reading",
    "Split": "data.splits",
    "random_split": "data.splits",
    "time_split": "data.splits",
    "leave_last_out": "data.splits",
    "k_folds": "data.splits",
    "Model": "models.model",
    "load": "models.registry",
    "MODELS": "models.registry",
    "TruncatedSVD": "models.svd",
    "BiasedSVD": "models.svd",
    "NMF": "models.nmf",
    "PMF": "models.pmf",
    "LogisticPMF": "models.logistic",
    "WeightedALS": "models.weighted",
    "BayesianPMF": "models.bayesian",
    "GlobalMean": "models.baselines",
    "Biases": "models.baselines",
    "MostPopular": "models.baselines",
    "ItemKNN": "models.knn",
    "evaluate": "evaluation.measures",
    "compare": "evaluation.comparison",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'imbik.recommend' has no attribute {name!r}")
    return getattr(importlib.import_module(f"imbik.recommend.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
