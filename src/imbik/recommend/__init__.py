"""Matrix factorization of ratings: SVD, NMF, PMF, logistic PMF and Bayesian PMF behind one interface.

Names are loaded on first use (PEP 562): importing this package costs neither numba nor scipy.

>>> from imbik.recommend import PMF, Ratings
>>> model = PMF(rank=1).fit(Ratings.of(["ada", "ada", "bob"], ["x", "y", "x"], [5, 4, 2]))
>>> [item for item, score in model.recommend("bob", k=1)]
['y']
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
