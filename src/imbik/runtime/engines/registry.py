"""All engines by name: those of this package, and those that other installed packages announce (entry points ``imbik.engines``)."""

from __future__ import annotations

from typing import TypeVar

from imbik.errors import UserError
from imbik.jobs.plugins import import_announced, import_members
from imbik.runtime.engines.engine import Engine

BASELINE = "pytorch"
"""The engine that every candidate is compared with, and that runs a checkpoint folder unless another one is named."""

_ENGINES: dict[str, Engine] = {}

_Class = TypeVar("_Class", bound=type[Engine])


def register_engine(cls: _Class) -> _Class:
    """Class decorator: make the engine known under its name."""
    _ENGINES[cls.name] = cls()
    return cls


def engines() -> dict[str, Engine]:
    """Return all engines by name, installed or not, in the order in which they are listed."""
    import_members("imbik.runtime.engines")
    import_announced("imbik.engines")
    return {one.name: one for one in sorted(_ENGINES.values(), key=lambda one: (one.order, one.name))}


def engine(name: str, *, where: object = None) -> Engine:
    """Return an engine whose packages are installed.

    Args:
        name: what users call it.
        where: where the name was read, for the message.

    Raises:
        UserError: there is no such engine.
        MissingExtra: a package that it needs is not installed.
    """
    known = engines()
    if name not in known:
        raise UserError(f"unknown engine '{name}'", where=where, expected=", ".join(known))
    known[name].check_installed()
    return known[name]


def shown_only(name: str) -> bool:
    """Return whether an engine is measured and shown but never chosen; False for one that is not known here."""
    found = engines().get(name)
    return found is not None and found.shown_only


def standalone(name: str) -> bool:
    """Return whether an engine answers without PyTorch; True for one that is not known here."""
    found = engines().get(name)
    return found is None or found.standalone
