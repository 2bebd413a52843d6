"""The registry of layer kinds that a compressed model records."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, TypeVar


class Layer(Protocol):
    """A module that takes the place of another: ``type(layer)(**layer.arguments)`` gives one of the same shape."""

    layer_name: ClassVar[str]

    @property
    def arguments(self) -> dict[str, Any]:
        """What the constructor takes, JSON-able."""


_LAYERS: dict[str, type[Any]] = {}


_Class = TypeVar("_Class", bound=type)


def layer(name: str) -> Callable[[_Class], _Class]:
    """Register a layer class (see :class:`Layer`) under ``name``, by which a saved model names it."""

    def register(cls: _Class) -> _Class:
        cls.layer_name = name  # type: ignore[attr-defined]
        _LAYERS[name] = cls
        return cls

    return register


def layer_kinds() -> dict[str, type[Any]]:
    """Return every registered layer class by name: each module of this package is imported once and registers its own."""
    package = importlib.import_module("imbik.models.layers")
    for found in pkgutil.iter_modules(package.__path__, "imbik.models.layers."):
        importlib.import_module(found.name)
    return dict(_LAYERS)
