"""Names that stand for several recipes: ``--recipe study``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imbik.recipes.recipe import Recipe

STUDY = "study"
"""The three models of the study of DistilBERT, MobileBERT and TinyBERT."""

GROUPS = {STUDY: ("distilbert+int8", "mobilebert+int8", "tinybert+int8")}
"""Name -> recipes that are compared with one another."""


def ungrouped(names: Iterable[str | Path | Recipe]) -> list[str | Path | Recipe]:
    """Return recipes with the members of each group in its place, each recipe that is named by both once.

    >>> ungrouped(["int8", "study", "tinybert+int8"])
    ['int8', 'distilbert+int8', 'mobilebert+int8', 'tinybert+int8']
    """
    found: list[str | Path | Recipe] = []
    of_groups: set[str] = set()
    for name in names:
        if isinstance(name, str) and name in GROUPS:
            of_groups.update(GROUPS[name])
            found += [member for member in GROUPS[name] if member not in found]
        elif not (isinstance(name, str) and name in of_groups):
            found.append(name)
    return found
