"""What a search refuses before it works: what it cannot do, and folders in which it would write over what is not its own."""

from __future__ import annotations

from pathlib import Path

from imbik.compress.ownership import check_output
from imbik.compress.rivals import check_rivals
from imbik.errors import UserError
from imbik.export.builders.registry import DEFAULT_ENGINES
from imbik.jobs.files import refuse_foreign
from imbik.models.teacher import Teacher
from imbik.pruning.table import CostFile, refuse_costs
from imbik.search.costs import COSTS
from imbik.search.levers import Levers, layers_of
from imbik.search.options import SearchOptions
from imbik.search.outcome import refuse_best
from imbik.search.picture import refuse_picture
from imbik.search.sampling import check_sampler
from imbik.search.strategies import check_strategy
from imbik.tasks.outputs import TEXTS
from imbik.tasks.registry import task_of
from imbik.types import Splits


def check_search(splits: Splits, options: SearchOptions) -> None:
    """Refuse what cannot be done, now and not after hours of training.

    Raises:
        UserError: as said.
        MissingExtra: Optuna is asked for and not installed.
    """
    if task_of(splits.task).apart:  # what it times are rows that a model reads as one
        fix = "name recipes with imbik compress --recipe, such as layers-3+int8"
        raise UserError("a search is not for models that read two texts apart", where="imbik search", found=splits.task, fix=fix)
    options.check_levers()
    if options.levers != "settings" and task_of(splits.task).reads != TEXTS:
        fix = "search whole recipes alone: --levers settings"
        raise UserError("architectures are searched for models of texts", where="imbik search", found=splits.task, fix=fix)
    check_strategy(options.strategy)
    if options.levers != "architecture":
        check_sampler(options.sampler)
    if options.table is not None:
        CostFile.read(options.table)


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
