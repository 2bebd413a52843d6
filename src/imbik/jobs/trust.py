"""Whether code that a model's folder brings may run: never, unless the user says so beforehand. Nobody is asked on the terminal."""

from __future__ import annotations

import os

TRUST = "IMBIK_TRUST_REMOTE_CODE"
"""Environment variable; ``1`` lets models bring code of their own, in this process and in those that it starts."""


def remote_code_trusted() -> bool:
    """Return whether the user said that such code may run."""
    return os.environ.get(TRUST) == "1"


def trust_remote_code(wanted: bool = True) -> bool:
    """Let such code run from now on, where ``wanted`` is true; return ``wanted``."""
    if wanted:
        os.environ[TRUST] = "1"
    return wanted
