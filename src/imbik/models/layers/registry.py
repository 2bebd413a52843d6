"""The registry of layer kinds that a compressed model records."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, TypeVar


class Layer(Protocol):
    """Module that takes the place of another.

    ``type(layer)(**layer.arguments)`` gives one of the same shape.
    """

    layer_name: ClassVar[str]

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the constructor, JSON-able."""


_LAYERS: dict[str, type[Any]] = {}


_Class = TypeVar("_Class", bound=type)


def layer(name: str) -> Callable[[_Class], _Class]:
    """Register a layer class (see :class:`Layer`) under ``name``.

    A saved model names it by that.
    """

    def register(cls: _Class) -> _Class:
        cls.layer_name = name  # type: ignore[attr-defined]
        _LAYERS[name] = cls
        return cls

    return register


def layer_kinds() -> dict[str, type[Any]]:
    """Return every registered layer class by name.

    Each module of this package is imported once and registers its own.
    """
    package = importlib.import_module("imbik.models.layers")
    for module in pkgutil.iter_modules(package.__path__, "imbik.models.layers."):
        importlib.import_module(module.name)
    return dict(_LAYERS)
