"""Any PyTorch module made small: from Python, without a task, a tokenizer or a folder of transformers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
