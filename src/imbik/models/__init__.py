"""A PyTorch model as a thing: its folder, its anatomy, its layers, its tokenizer."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
