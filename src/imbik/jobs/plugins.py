"""Modules that register themselves: those of a package of ours, and those that other installed packages announce."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from functools import cache
from importlib.metadata import entry_points

logger = logging.getLogger(__name__)


@cache
def import_members(package: str) -> None:
    """Import every module of a package of ours, so that what it defines registers itself; once in a process.

    Args:
        package: its name. Each of its modules must be cheap to import: what is heavy is imported inside the functions that use it.
    """
    folder = importlib.import_module(package)
    for module in pkgutil.iter_modules(folder.__path__, f"{package}."):
        importlib.import_module(module.name)


@cache
def import_announced(group: str) -> None:
    """Import every module that an installed package announces as an entry point of ``group``; once in a process.

    A module that cannot be imported is left out with a warning: a defect of a stranger's package must not stop what does not need it.
    """
    for announced in entry_points(group=group):
        try:
            announced.load()
        except Exception as error:
            logger.warning("%s of the group %s cannot be loaded and is left out: %s", announced.value, group, error)
