"""Linear models over n-grams: what a user would try first, and a student that learns from a teacher."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
