"""The whole story on bundled data, and the lesson that the notebooks of the course share."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
