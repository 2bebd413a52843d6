"""Seeds that follow from other numbers."""

from __future__ import annotations

import numpy as np


def mixed(*numbers: int) -> int:
    """Return one seed that follows from several numbers.

    >>> mixed(1, 2) != mixed(2, 1) and mixed(1, 2) == mixed(1, 2)
    True
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
