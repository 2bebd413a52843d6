"""A finished model becomes a repository of the Hugging Face hub that transformers, Optimum and transformers.js open. Without PyTorch."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
