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

_OWN: dict[tuple[str, str], tuple[type[PretrainedConfig], type[Any]]] = {}
"""By architecture and head."""

_AUTOS: dict[str, Any] = {}
"""Head -> what makes models that end in it, for heads that transformers does not have."""

_Class = TypeVar("_Class", bound=type)


def architecture(config: type[PretrainedConfig], head: str) -> Callable[[_Class], _Class]:
    """Register a model class for the config class that its folders carry (a decorator).

    Args:
        config: its ``model_type`` is the architecture's name.
        head: what the model ends in, as :attr:`imbik.tasks.task.Task.architecture` names it.
    """

    def register(cls: _Class) -> _Class:
        _OWN[config.model_type, head] = (config, cls)
        return cls

    return register


def auto(head: str) -> Callable[[_Class], _Class]:
    """Register a class that makes models which end in ``head`` (a decorator).

    It has the methods of transformers' ``AutoModelFor…`` classes.
    """

    def register(cls: _Class) -> _Class:
        _AUTOS[head] = cls
        return cls

    return register


def auto_of(head: str) -> Any:
    """Return what makes models with a head.

    That is transformers' ``AutoModelFor<head>``, one of ours, or ``AutoModel`` where neither knows it.
    """
    introduce()
    # ours first: a later transformers may have a head of the same name and other outputs
    return _AUTOS[head] if head in _AUTOS else getattr(transformers, f"AutoModelFor{head}", transformers.AutoModel)


@functools.cache
def introduce() -> None:
    """Make these architectures known to transformers' ``Auto`` classes, once a process."""
    package = importlib.import_module("imbik.models.architectures")
    for module in pkgutil.iter_modules(package.__path__, "imbik.models.architectures."):
        importlib.import_module(module.name)
    for (name, head), (config, model) in _OWN.items():
        AutoConfig.register(name, config, exist_ok=True)
        made = _AUTOS[head] if head in _AUTOS else getattr(transformers, f"AutoModelFor{head}")
        made.register(config, model, exist_ok=True)


def is_own(config: PretrainedConfig) -> bool:
    """Return whether the architecture is of this package: transformers alone cannot open it."""
    introduce()
    return config.model_type in {name for name, _ in _OWN}


def has_head(config: type[PretrainedConfig], head: str) -> bool:
    """Return whether an architecture of ours has a model that ends in ``head``."""
    introduce()
    return (config.model_type, head) in _OWN
