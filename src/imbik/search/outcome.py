"""What a search writes into its output folder, the best so far as a recipe and as numbers; and what must not stand there before."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from imbik.compress.ownership import check_output
from imbik.compress.rivals import check_rivals
from imbik.export.builders.registry import DEFAULT_ENGINES
from imbik.jobs.files import refuse_foreign, refuse_foreign_file, replacing, write_json
from imbik.measure.values import Limits
from imbik.models.teacher import Teacher
from imbik.pruning.table import refuse_costs
from imbik.search.candidate import Candidate, Made, front
from imbik.search.costs import COSTS
from imbik.search.levers import Levers, layers_of, recipe_of
from imbik.search.options import SearchOptions
from imbik.search.picture import refuse_picture
from imbik.types import Splits

RECIPE, NUMBERS = "best.yaml", "best.json"
FORMAT = "imbik search"
"""What ``best.json`` says of itself."""

_MARK = "# written by imbik search, and replaced by it: copy it before you change it\n"


def check_folder(teacher: Teacher, splits: Splits, directory: Path, options: SearchOptions) -> None:
    """Refuse an output folder that holds files of others where the search, and compress inside it, will write.

    Raises:
        UserError: naming the first one.
    """
    refuse_picture(directory)
    refuse_costs(directory / COSTS)
    refuse_best(directory)
    run = directory / "run"
    if run.is_file():
        refuse_foreign(run, None)
    check_output(run, _names(teacher, splits, options), DEFAULT_ENGINES, tuple(teacher.members))
    check_rivals(run)


def _names(teacher: Teacher, splits: Splits, options: SearchOptions) -> list[str]:
    """Return the recipes that will be made, as far as they are known before anything is looked at."""
    if options.levers == "architecture":
        return ["best"]
    levers = Levers(teacher, splits, layers_of(teacher), options.distill, options.seed)
    # which layers recipes begin with is what a supernet is trained for
    return [str(levers.document(one)["name"]) for one in levers.starts() if options.levers == "settings" or one["kind"] != "layers"]


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
