"""All builders by engine: those of this package, and those that other installed packages announce (entry points ``imbik.builders``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from imbik.errors import UserError
from imbik.export.builders.builder import EngineBuilder
from imbik.jobs.plugins import import_announced, import_members
from imbik.runtime.engines.registry import engine, engines
from imbik.tasks.outputs import IMAGES
from imbik.tasks.registry import task_of
from imbik.types import Step, TaskName

DEFAULT_ENGINES = ("onnx", "numpy")
"""What artefacts are made for unless engines are named; numpy runs students without layers alone."""

_BUILDERS: dict[str, EngineBuilder] = {}

_Class = TypeVar("_Class", bound=type[EngineBuilder])


def register_builder(cls: _Class) -> _Class:
    """Class decorator: make the builder known under its engine's name."""
    _BUILDERS[cls.engine] = cls()
    return cls


def builders() -> dict[str, EngineBuilder]:
    """Return all builders by engine, installed or not, in the order of the engines."""
    import_members("imbik.export.builders")
    import_announced("imbik.builders")
    return {name: _BUILDERS[name] for name in engines() if name in _BUILDERS}


def builder(name: str) -> EngineBuilder:
    """Return the builder for an engine that is installed.

    Raises:
        UserError: no artefacts are made for this engine, with the names that there are.
        MissingExtra: a package that the engine needs is not installed.
    """
    known = builders()
    if name not in known:
        raise UserError("no artefacts are made for this engine", where="--engine", found=name, expected=", ".join(known))
    engine(name)
    return known[name]


def buildable() -> list[str]:
    """Return the engines that artefacts can be made for here: those with a builder whose package is installed."""
    known = engines()
    return [name for name in builders() if known[name].installed()]


def refusal(name: str, steps: Sequence[Step], architecture: str | None = None, *, task: TaskName | None = None) -> str | None:
    """Return why an engine's builder cannot take a model, or None when it can.

    Args:
        name: of the engine.
        steps: that made the model.
        architecture: ``model_type`` of its config; None where it is not known yet.
        task: what it answers; None: some task of texts.
    """
    made_by = builders()[name]
    if task is not None and task_of(task).reads == IMAGES:
        return made_by.refusal(steps, images=True)
    if not made_by.takes(architecture):
        return f"{name} does not run models of the architecture {architecture or 'that this one will have'}"
    return made_by.refusal(steps)
