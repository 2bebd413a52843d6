"""The job: look for the best model under a budget, an architecture by a supernet and whole recipes by making them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from imbik.compress.run import as_teacher, compress
from imbik.errors import UserError
from imbik.jobs.paths import with_home
from imbik.jobs.progress import Progress
from imbik.jobs.workspace import WORK_FOLDER, locked
from imbik.machine import physical_cores
from imbik.measure.results import Results
from imbik.models.teacher import Teacher
from imbik.pruning.table import CostFile
from imbik.search.candidate import Candidate, Made
from imbik.search.costs import INT8
from imbik.search.levers import Levers, Size, layers_of
from imbik.search.options import Found, SearchOptions
from imbik.search.outcome import check_folder, write_best
from imbik.search.picture import write_picture
from imbik.search.recipes import Recipes
from imbik.search.sampling import check_sampler
from imbik.search.strategies import check_strategy
from imbik.search.study import Study, reference
from imbik.tasks.outputs import TEXTS
from imbik.tasks.registry import task_of
from imbik.training.teacher_cache import TeacherCache
from imbik.types import Checkpoint, Splits

_SIZES = 12
"""Architectures of the supernet that recipes may begin with, at most."""

_WINNERS = 4
"""Architectures that are made since they win as parts of the supernet, at most: one that keeps less than that makes room for the next."""


def search(
    teacher: Checkpoint, splits: Splits, directory: Path, options: SearchOptions, *, progress: Progress, say: Callable[[str], None]
) -> Found:
    """Search; run again, it continues behind what is finished, under the same limits or others.

    Args:
        teacher: the model to compress.
        splits: the data; ``dev`` decides.
        directory: gets ``best.yaml``, ``best.json``, ``costs.json``, the picture ``search.html`` and ``run/``, where recipes are made.
        options: how it goes.
        progress: where progress is shown.
        say: takes one line for the user.

    Raises:
        UserError: an architecture that cannot be made smaller, an unknown strategy, a table of another model, a teacher of pairs and data
            of single texts (or the other way round), images with architectures, or a task whose models read texts apart.
        MissingExtra: Optuna is asked for and not installed.
        KeyboardInterrupt: the user stopped it before anything was measured.
    """
    began = time.monotonic()
    # decided once: the table's engine and compress count in the same threads
    options = replace(options, threads=options.threads or physical_cores())
    _check(splits, options)
    directory = with_home(directory)
    model = as_teacher(teacher, splits, None)
    with locked(directory):
        check_folder(model, splits, directory, options)
        # the supernet is trained and its parts are timed here, or found finished
        search_ = _Search(model, splits, directory, options, progress, say)
        finished = search_.look(began)
        if finished and options.make:
            finished = search_.make_winners(began)
        best = search_.best()
        recipe = search_.publish()
        found = search_.candidates()
        say(f"the search as a picture: {write_picture(found, best, options.limits, directory, options.lang)}")
    # outside the lock: compress takes one of its own, of a folder inside this one
    results = search_.results(recipe) if finished and options.make else None
    return Found(best, recipe, search_.looked_at, search_.made, finished, results, search_.interrupted)


def _check(splits: Splits, options: SearchOptions) -> None:
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


class _Search:
    """Both parts of a search, and the winner over all that they looked at."""

    def __init__(
        self, teacher: Teacher, splits: Splits, directory: Path, options: SearchOptions, progress: Progress, say: Callable[[str], None]
    ) -> None:
        self.teacher, self.splits, self.directory, self.options = teacher, splits, directory, options
        self.progress, self.say = progress, say
        self.settled = False
        """Whether estimates count no more: those that would win were made."""
        if options.levers == "settings":
            reference(TeacherCache(directory / WORK_FOLDER / "recipes" / "teacher", teacher), splits, progress)
        self.study = Study.begin(teacher, splits, directory, options, progress, say) if options.levers != "settings" else None
        # what earlier calls made counts at once; what there is to choose is known when the architectures are
        self.recipes = self._recipes() if options.levers != "architecture" else None

    def look(self, began: float) -> bool:
        """Look at architectures, then make recipes; return whether all were looked at."""
        if self.study is not None and not self.study.look(began, self._publish):
            return False
        if self.recipes is None:
            return True
        # anew: now the front of the architectures is known, which recipes may begin with
        self.recipes = self._recipes()
        return self.recipes.look(began, self._publish)

    def candidates(self) -> list[Candidate | Made]:
        """Return all that was ever looked at: architectures first, each in the order of time."""
        return [*(self.study.candidates() if self.study else ()), *(self.recipes.candidates() if self.recipes else ())]

    def best(self) -> Candidate | Made:
        """Return the best of all under these limits; where all winners were made, of what was measured."""
        made = self.recipes.candidates() if self.recipes else []
        if self.study is not None:
            self.study.look_at_one()
        estimates = self._estimates() if not (self.settled and made) else []
        pool: list[Candidate | Made] = [*estimates, *made]
        # a call that was stopped before its first recipe, or all of them failed
        if not pool:
            if self.interrupted:
                raise KeyboardInterrupt
            errors = [str(entry["error"]) for entry in self.recipes.entries] if self.recipes else []
            if not errors:
                fix = "run the same command again: it goes on where it stopped"
                raise UserError("the search ended before its first recipe was measured", where=self.directory, fix=fix)
            fix = "read the errors, or search with --levers architecture"
            raise UserError("no recipe was made", where=self.directory, found="; ".join(errors[:3]), fix=fix)
        return max(pool, key=self._rank)

    def make_winners(self, began: float) -> bool:
        """Make the winner while it is an architecture that was only estimated; return whether what was measured alone is left.

        Of the estimates the best :data:`_WINNERS` are made, at most: so many under the same limits, whatever was made under others.

        Args:
            began: when the minutes began.
        """
        if self.recipes is None or self.study is None:
            return True
        minutes = self.options.minutes
        for chosen in sorted(self.study.candidates(), key=self._rank, reverse=True)[:_WINNERS]:
            if isinstance(self.best(), Made):
                break
            if chosen not in self._estimates():
                continue
            if minutes is not None and time.monotonic() - began > 60 * minutes:
                return False
            self.recipes.make(self.study.document(chosen.architecture))
            self.publish()
        self.settled = True
        return True

    def publish(self) -> Path:
        """Write the best so far where a user finds it: as a recipe that ``imbik compress`` takes, and as numbers."""
        best, counts = self.best(), {"looked_at": self.looked_at, "made": self.made}
        return write_best(self.directory, best, self._document(best), self.candidates(), self.options.limits, counts)

    def results(self, recipe: Path) -> Results | None:
        """Measure the winner, or the front of the recipes side by side."""
        if self.recipes is not None:
            best = self.best()
            return self.recipes.side_by_side(best if isinstance(best, Made) else None)
        self.say(f"making the winner: {recipe}")
        limits, threads, lang = self.options.limits, self.options.threads, self.options.lang
        chosen: dict[str, Any] = {"recipes": [recipe], "limits": limits, "threads": threads, "lang": lang}
        return compress(self.teacher, self.splits, self.directory / "run", progress=self.progress, say=self.say, **chosen)

    @property
    def interrupted(self) -> bool:
        """Whether the user stopped it."""
        return any(part.interrupted for part in (self.study, self.recipes) if part is not None)

    @property
    def looked_at(self) -> int:
        """Architectures that were evaluated."""
        return len(self.study.known) if self.study else 0

    @property
    def made(self) -> int:
        """Recipes that were made."""
        return len(self.recipes.entries) if self.recipes else 0

    def _rank(self, one: Candidate | Made) -> tuple[float, float, float]:
        return one.rank(self.options.limits)

    def _estimates(self) -> list[Candidate]:
        """Return the architectures of which nothing better is known than an estimate: those that were not made, and did not fail."""
        if self.study is None or self.recipes is None:
            return self.study.candidates() if self.study else []
        made = [one.document["steps"] for one in self.recipes.candidates()]
        # another order of steps is the same model; matrices of a lower rank, or other bits, are another one
        whole = [steps for steps in made if INT8 in steps and not any("low_rank" in step for step in steps)]
        known = [step for steps in whole for step in steps]
        document, recipes = self.study.document, self.recipes
        return [
            one for one in self.study.candidates() if one.architecture.step() not in known and not recipes.known(document(one.architecture))
        ]

    def _publish(self) -> None:
        self.publish()

    def _recipes(self) -> Recipes:
        sizes = layers_of(self.teacher) if self.study is None else sizes_of(self.study)
        levers = Levers(self.teacher, self.splits, sizes, self.options.distill, self.options.seed)
        return Recipes(self.teacher, self.splits, self.directory, levers, self.options, self.progress, self.say)

    def _document(self, one: Candidate | Made) -> dict[str, Any]:
        """Return the recipe of a candidate, as YAML has it."""
        if isinstance(one, Made):
            return one.document
        assert self.study is not None, "architectures come from a supernet"
        return self.study.document(one.architecture)


def sizes_of(study: Study) -> tuple[Size, ...]:
    """Return the students with layers that recipes may begin with: the front of a supernet's architectures, and the whole model."""
    space = study.supernet.space
    whole = study.table.cost(space.architecture(space.full)).ms
    chosen: list[Candidate] = []
    for one in sorted(study.candidates(), key=lambda one: (one.cost.ms, -one.retention)):
        # one that is slower than the whole model by the table is noise, or no use
        if one.cost.ms < whole and (not chosen or one.retention > chosen[-1].retention):
            chosen.append(one)
    # evenly along the front, both ends among them
    places = sorted({round(place) for place in np.linspace(0, len(chosen) - 1, min(_SIZES, len(chosen)))}) if chosen else []
    few = [chosen[place] for place in places]
    sizes = [Size(str(study.document(one.architecture)["name"]), one.cost.ms / whole, None, (one.architecture.step(),)) for one in few]
    return (*sizes, Size("whole", 1.0))
