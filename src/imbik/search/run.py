"""The job: look for the best model under a budget, an architecture by a supernet and whole recipes by making them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from imbik.compress.run import compress
from imbik.errors import UserError
from imbik.jobs.files import replacing, write_json
from imbik.jobs.paths import with_home
from imbik.jobs.progress import Progress
from imbik.jobs.workspace import locked
from imbik.measure.results import Results
from imbik.models.teacher import Teacher
from imbik.pruning.table import CostFile, refuse_costs
from imbik.search.candidate import Candidate, Made, front
from imbik.search.costs import COSTS
from imbik.search.levers import Levers, Size, layers_of, recipe_of
from imbik.search.options import Found, SearchOptions
from imbik.search.picture import refuse_picture, write_picture
from imbik.search.recipes import Recipes
from imbik.search.sampling import check_sampler
from imbik.search.strategies import check_strategy
from imbik.search.study import Study
from imbik.tasks.registry import task_of
from imbik.types import Checkpoint, Splits

_SIZES = 12
"""Architectures of the supernet that recipes may begin with, at most."""


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
        UserError: an architecture that cannot be made smaller, an unknown strategy, a table of another model, or a task whose models
            read texts apart.
        MissingExtra: Optuna is asked for and not installed.
    """
    began = time.monotonic()
    _check(splits, options)
    directory = with_home(directory)
    model = Teacher.of(teacher)
    with locked(directory):
        refuse_picture(directory)
        refuse_costs(directory / COSTS)
        # the supernet is trained and its parts are timed here, or found finished
        search_ = _Search(model, splits, directory, options, progress, say)
        finished = search_.look(began)
        if finished and options.make:
            search_.make_winner()
        best = search_.best()
        recipe = search_.publish()
        found = search_.candidates()
        say(f"the search as a picture: {write_picture(found, best, options.limits, directory, options.lang)}")
    # outside the lock: compress takes one of its own, of a folder inside this one
    results = search_.results(recipe) if finished and options.make else None
    return Found(best, recipe, search_.looked_at, search_.made, finished, results)


def _check(splits: Splits, options: SearchOptions) -> None:
    """Refuse what cannot be done, now and not after hours of training."""
    if task_of(splits.task).apart:  # what it times are rows that a model reads as one
        fix = "name recipes with imbik compress --recipe, such as layers-3+int8"
        raise UserError("a search is not for models that read two texts apart", where="imbik search", found=splits.task, fix=fix)
    options.check_levers()
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
        """Return the best of all under these limits; an architecture that was made counts as it was measured, not as it was estimated."""
        made = self.recipes.candidates() if self.recipes else []
        if self.study is not None:
            self.study.look_at_one()
        steps = [step for one in made for step in one.document["steps"]]
        estimates = [one for one in self.study.candidates() if one.architecture.step() not in steps] if self.study else []
        pool: list[Candidate | Made] = [*estimates, *made]
        # a call that was stopped before its first recipe, or all of them failed
        if not pool:
            errors = [str(entry["error"]) for entry in self.recipes.entries] if self.recipes else []
            if not errors:
                fix = "run the same command again: it goes on where it stopped"
                raise UserError("the search ended before its first recipe was measured", where=self.directory, fix=fix)
            fix = "read the errors, or search with --levers architecture"
            raise UserError("no recipe was made", where=self.directory, found="; ".join(errors[:3]), fix=fix)
        return max(pool, key=lambda one: one.rank(self.options.limits))

    def make_winner(self) -> None:
        """Make the winner where it is an architecture that was only estimated, so that it is compared as it is."""
        best = self.best()
        if self.recipes is not None and isinstance(best, Candidate):
            self.recipes.make(self._document(best))

    def publish(self) -> Path:
        """Write the best so far where a user finds it: as a recipe that ``imbik compress`` takes, and as numbers."""
        best, file = self.best(), self.directory / "best.yaml"
        document = {**self._document(best), "name": "best"}
        # parsed before it is written: a recipe that compress would refuse never lies there
        recipe_of(document, "best.yaml")
        with replacing(file) as temporary:
            temporary.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        made = self.recipes.candidates() if self.recipes else []
        facts = {"measured": isinstance(best, Made), "violation": best.violation(self.options.limits)}
        counts = {"looked_at": self.looked_at, "made": self.made}
        write_json(self.directory / "best.json", {**asdict(best), **facts, **counts, "front": [asdict(one) for one in front(made)]})
        return file

    def results(self, recipe: Path) -> Results | None:
        """Measure the winner, or the front of the recipes side by side."""
        if self.recipes is not None:
            return self.recipes.side_by_side()
        self.say(f"making the winner: {recipe}")
        limits, threads, lang = self.options.limits, self.options.threads, self.options.lang
        chosen: dict[str, Any] = {"recipes": [recipe], "limits": limits, "threads": threads, "lang": lang}
        return compress(self.teacher, self.splits, self.directory / "run", progress=self.progress, say=self.say, **chosen)

    @property
    def looked_at(self) -> int:
        """Architectures that were evaluated."""
        return len(self.study.known) if self.study else 0

    @property
    def made(self) -> int:
        """Recipes that were made."""
        return len(self.recipes.entries) if self.recipes else 0

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
