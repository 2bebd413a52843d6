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
    "Ratings": "ratings",
    "read_ratings": "reading",
    "Split": "splits",
    "random_split": "splits",
    "time_split": "splits",
    "leave_last_out": "splits",
    "k_folds": "splits",
    "Model": "model",
    "load": "registry",
    "MODELS": "registry",
    "TruncatedSVD": "svd",
    "BiasedSVD": "svd",
    "NMF": "nmf",
    "PMF": "pmf",
    "LogisticPMF": "logistic",
    "WeightedALS": "weighted",
    "BayesianPMF": "bayesian",
    "GlobalMean": "baselines",
    "Biases": "baselines",
    "MostPopular": "baselines",
    "ItemKNN": "knn",
    "evaluate": "evaluation",
    "compare": "comparison",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'imbik.recommend' has no attribute {name!r}")
    return getattr(importlib.import_module(f"imbik.recommend.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
