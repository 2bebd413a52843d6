"""imbik: make Transformer models small, fast and cheap, and prove it.

``import imbik`` is cheap: a public name loads its room, and what that room needs, when it is first used. The verbs bear their room's
name and are imported from it: ``from imbik.compress import compress``, likewise ``finetune``, ``export`` and ``measure``.
"""

# Only what Python has loaded already or holds in itself: the working folder is still on the import path.
import os
import sys
from itertools import pairwise


def _leave_the_working_folder() -> None:
    """Take the working folder off the import path where ``python -m imbik`` put it first: a numpy.py that lies there must not run."""
    started = any(before[:1] == "-" and before[-1:] == "m" and f"{name}.".startswith("imbik.") for before, name in pairwise(sys.orig_argv))
    if sys.argv[:1] == ["-m"] and started and sys.path and os.path.realpath(sys.path[0] or ".") == os.path.realpath("."):
        del sys.path[0]


_leave_the_working_folder()

import lazy_loader  # noqa: E402  behind the line that makes imports safe

from imbik import moved  # noqa: E402

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]

moved.watch()
