"""What a user finds in the output folder: the best so far as a recipe and as numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from imbik.jobs.files import refuse_foreign_file, replacing, write_json
from imbik.measure.values import Limits
from imbik.search.candidate import Candidate, Made, front
from imbik.search.levers import recipe_of

RECIPE, NUMBERS = "best.yaml", "best.json"
FORMAT = "imbik search"
"""What ``best.json`` says of itself."""

_MARK = "# written by imbik search, and replaced by it: copy it before you change it\n"


def refuse_best(directory: Path) -> None:
    """Refuse a folder with files of these names that are somebody else's, before hours of work.

    Raises:
        UserError: as said.
    """
    refuse_foreign_file(directory / RECIPE, lambda path: path.read_text(encoding="utf-8").startswith(_MARK))
    refuse_foreign_file(directory / NUMBERS, lambda path: json.loads(path.read_text(encoding="utf-8"))["format"] == FORMAT)


def write_best(
    directory: Path,
    best: Candidate | Made,
    document: Mapping[str, Any],
    seen: Sequence[Candidate | Made],
    limits: Limits,
    counts: Mapping[str, int],
) -> Path:
    """Write the best so far, as a recipe that ``imbik compress`` takes and as numbers; return the recipe's file.

    Args:
        directory: the search's output folder.
        best: the best one.
        document: its recipe, as YAML has it.
        seen: all that were looked at.
        limits: what the best one must meet.
        counts: of what was looked at, by name.

    Raises:
        UserError: a file of that name that imbik did not make.
    """
    refuse_best(directory)
    named = {**document, "name": "best"}
    # parsed before it is written: a recipe that compress would refuse never lies there
    recipe_of(named, RECIPE)
    with replacing(directory / RECIPE) as temporary:
        temporary.write_text(_MARK + yaml.safe_dump(named, sort_keys=False), encoding="utf-8")
    # what was measured, where anything was: an estimate is not to be compared with it
    pool = [one for one in seen if isinstance(one, Made)] or seen
    facts = {"measured": isinstance(best, Made), "violation": best.violation(limits), "shortfall": best.shortfall(limits)}
    write_json(
        directory / NUMBERS, {"format": FORMAT, **_numbers(best), **facts, **counts, "front": [_numbers(one) for one in front(pool)]}
    )
    return directory / RECIPE


def _numbers(one: Candidate | Made) -> dict[str, Any]:
    """Return what is known of one; layers are counted from 1, as in recipes."""
    return asdict(one) | ({"architecture": one.architecture.step()["prune"]} if isinstance(one, Candidate) else {})
