"""The registry of architectures of imbik's own: how transformers learns to open their folders.

Their folders are those of any transformers model, ``config.json`` beside ``model.safetensors``; a program that has never heard of
imbik is told that the model type is unknown.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, TypeVar

import transformers
from transformers import AutoConfig, PretrainedConfig

_OWN: dict[str, tuple[type[PretrainedConfig], str, type[Any]]] = {}

_Class = TypeVar("_Class", bound=type)


def architecture(config: type[PretrainedConfig], head: str) -> Callable[[_Class], _Class]:
    """Register a model class for the config class that its folders carry (a decorator).

    Args:
        config: its ``model_type`` is the architecture's name.
        head: what the model ends in, as :attr:`imbik.tasks.task.Task.architecture` names it.
    """

    def register(cls: _Class) -> _Class:
        _OWN[config.model_type] = (config, head, cls)
        return cls

    return register


@functools.cache
def introduce() -> None:
    """Make these architectures known to transformers' ``Auto`` classes, once a process."""
    package = importlib.import_module("imbik.models.architectures")
    for module in pkgutil.iter_modules(package.__path__, "imbik.models.architectures."):
        importlib.import_module(module.name)
    for name, (config, head, model) in _OWN.items():
        AutoConfig.register(name, config, exist_ok=True)
        getattr(transformers, f"AutoModelFor{head}").register(config, model, exist_ok=True)


def is_own(config: PretrainedConfig) -> bool:
    """Return whether the architecture is of this package: transformers alone cannot open it."""
    introduce()
    return config.model_type in _OWN
