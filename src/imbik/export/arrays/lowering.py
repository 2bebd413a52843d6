"""Which architectures NumPy can compute, and the arrays that each gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from imbik.jobs.plugins import import_members

Arrays: TypeAlias = dict[str, NDArray[Any]]
"""What a kind of :mod:`imbik.runtime.arrays` is made from, by its names; float32 matrices of it can become integers."""

Lowering: TypeAlias = Callable[[nn.Module], Arrays]

_LOWERINGS: dict[str, Lowering] = {}


def lowers(architecture: str) -> Callable[[Lowering], Lowering]:
    """Register a function that gives the arrays of a model of this architecture, its config's ``model_type`` (a decorator)."""

    def register(function: Lowering) -> Lowering:
        _LOWERINGS[architecture] = function
        return function

    return register


def lowerings() -> Mapping[str, Lowering]:
    """Return every architecture that NumPy can compute, with the function that gives its arrays."""
    import_members("imbik.export.arrays")
    return dict(_LOWERINGS)


def floats(tensor: Tensor) -> NDArray[np.float32]:
    """Return a weight as an array."""
    array: NDArray[np.float32] = tensor.detach().cpu().float().numpy()
    return array
