"""imbik: make Transformer models small, fast and cheap, and prove it.

``import imbik`` is cheap: a public name loads its room, and what that room needs, when it is first used. The verbs bear their room's
name and are imported from it: ``from imbik.compress import compress``, likewise ``finetune``, ``export`` and ``measure``.
"""

import lazy_loader

from imbik import moved

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]

moved.watch()
