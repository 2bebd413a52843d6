"""The training loop and what it needs: settings, encoding, losses, state, the teacher's cached answers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
