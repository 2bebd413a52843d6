"""Paths as users write them."""

from __future__ import annotations

import os
from pathlib import Path


def with_home(path: str | Path) -> Path:
    """Return a path in which ``~`` and ``~name`` at the beginning are the home folders that a shell would put there.

    A shell leaves them alone in ``--out=~/x`` and in quotes, and a program never sees one. A name without a home stays as it is.

    >>> with_home("data/~x").parts, with_home("~") == Path.home()
    (('data', '~x'), True)
    """
    return Path(os.path.expanduser(path))
