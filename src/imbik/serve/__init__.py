"""Artefacts behind HTTP: requests to answers, with limits that hold under overload. Without PyTorch."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
