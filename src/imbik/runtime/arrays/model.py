"""What a model of arrays is, and the registry of its kinds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from imbik.errors import UserError
from imbik.jobs.plugins import import_members

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


class ArrayModel(ABC):
    """A model whose arrays fit in a file of NumPy's and whose answers NumPy computes. Its answers must be in memory of their own.

    Attributes:
        kind: what files call it.
    """

    kind: ClassVar[str]

    @classmethod
    @abstractmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Make the model from the arrays of a file, see :func:`imbik.runtime.arrays.file.read_arrays`.

        Raises:
            KeyError, ValueError: arrays that are missing or do not fit one another.
        """

    @property
    @abstractmethod
    def rows(self) -> int:
        """How many ids it knows, from 0 on."""

    @abstractmethod
    def logits(self, ids: Ids) -> Floats:
        """Return ``(B, L)`` of token ids ``(B, T)``; the padding id counts for nothing."""

    def one(self, ids: list[int]) -> Floats:
        """Return ``(L,)`` of the token ids of one text."""
        logits: Floats = self.logits(np.array([ids], np.int64))[0]
        return logits


_ONES = np.ones(512, np.float32)


def summed(table: Floats, ids: list[int] | Ids) -> Floats:
    """Return the sum of some rows of a table, ``(K,)``.

    >>> summed(np.eye(3, dtype=np.float32), [0, 2, 2]).tolist()
    [1.0, 0.0, 2.0]
    """
    count = len(ids)
    # a product with ones, which takes a third of a sum's time
    ones = _ONES[:count] if count <= len(_ONES) else np.ones(count, np.float32)
    total: Floats = ones.dot(table.take(ids, axis=0))
    return total


_KINDS: dict[str, type[ArrayModel]] = {}
_Class = TypeVar("_Class", bound=type[ArrayModel])


def register_arrays(kind: str) -> Callable[[_Class], _Class]:
    """Register a class of models under the kind that its files name (a decorator)."""

    def register(cls: _Class) -> _Class:
        cls.kind = kind
        _KINDS[kind] = cls
        return cls

    return register


def model_of(arrays: Mapping[str, NDArray[Any]]) -> ArrayModel:
    """Make the model that a file holds.

    Raises:
        UserError: a kind that is not known here.
        KeyError, ValueError: arrays that are missing or do not fit one another.
    """
    import_members("imbik.runtime.arrays")
    kind = str(arrays["kind"])
    if kind not in _KINDS:
        raise UserError("unknown kind of model", where="model.npz", found=kind, expected=" or ".join(sorted(_KINDS)), fix="update imbik")
    return _KINDS[kind].of(arrays)
