"""Engines run a model behind :class:`imbik.runtime.predictor.Predictor`: one file each, found by listing this folder."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
