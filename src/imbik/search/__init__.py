"""The best model under a budget: a supernet that holds every architecture, and who chooses among them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
