"""Cascades: models of one run, cheapest first, of which each answers what it is sure of."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
