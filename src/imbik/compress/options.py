"""What a user of ``compress`` may choose, and what all candidates of one call share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from imbik.compress.front import Front
from imbik.compress.step_store import StepStore
from imbik.export.accuracy import AccuracyFloor
from imbik.export.builders.registry import DEFAULT_ENGINES, builder
from imbik.jobs.progress import Progress
from imbik.jobs.workspace import WORK_FOLDER
from imbik.locale.phrases import Phrases
from imbik.measure.timing import ROUNDS
from imbik.measure.values import Limits as Limits
from imbik.models.teacher import Teacher
from imbik.recipes.recipe import Recipe
from imbik.runtime.processors import int8_preset
from imbik.training.teacher_cache import TeacherCache
from imbik.types import Splits


@dataclass(frozen=True)
class Options:
    """How a teacher is compressed.

    Attributes:
        source: what to call the teacher: its folder or hub name; None: the name that it has, else ``teacher``.
        recipes: names, files, groups (:mod:`imbik.recipes.groups`) or recipes; none: a ladder for the teacher
            (:mod:`imbik.recipes.ladder`).
        engines: what to build artefacts for; of each model those that can run it.
        limits: what the choice must meet; None: :class:`Limits` as they are.
        minutes: no new recipe starts after this time.
        threads: of every engine while measuring; None: the physical cores.
        lang: of report.html, ``en`` or ``tr``.
        save_every: seconds between training states on disk.
        rivals: whether what a user would try first is measured beside the candidates (:mod:`imbik.compress.rivals`).
        preset: the processor that int8 artefacts are made for, :func:`imbik.runtime.processors.int8_preset`; None: this one.
        searched: id of the candidate that :mod:`imbik.search` chose, which is the choice then; None: the rule chooses.
        rounds: turns of each candidate while requests and batches are timed, three at least.
    """

    source: str | None = None
    recipes: Sequence[str | Path | Recipe] = ()
    engines: Sequence[str] = DEFAULT_ENGINES
    limits: Limits | None = field(default_factory=Limits)
    minutes: float | None = None
    threads: int | None = None
    lang: str = "en"
    save_every: float = 30.0
    preset: Mapping[str, Any] | None = None
    rivals: bool = False
    searched: str | None = None
    rounds: int = ROUNDS

    def changed(self, values: Mapping[str, object]) -> Options:
        """Return these options with some replaced, and every default settled.

        Raises:
            TypeError: an option that there is not.
        """
        options = replace(self, **values)  # type: ignore[arg-type]
        return replace(
            options, limits=options.limits or Limits(), preset=dict(options.preset or int8_preset()), engines=tuple(options.engines)
        )

    def check(self) -> None:
        """Refuse what cannot be done, now and not after hours of training.

        Raises:
            UserError: an engine that no artefacts are made for, or an unknown language.
        """
        for engine in self.engines:
            builder(engine)
        Phrases(self.lang)


@dataclass(frozen=True)
class Run:
    """One call of ``compress``: what every candidate of it shares.

    Attributes:
        teacher: the model to compress.
        splits: the data.
        directory: the output folder; ``directory/.imbik`` keeps finished steps and the teacher's outputs.
        options: what the user chose, every default settled.
        progress: where progress is shown.
        say: takes one line for the user.
    """

    teacher: Teacher
    splits: Splits
    directory: Path
    options: Options
    progress: Progress
    say: Callable[[str], None]

    @property
    def limits(self) -> Limits:
        """What the choice must meet."""
        return self.options.limits or Limits()

    @property
    def work(self) -> Path:
        """Where finished steps and the teacher's outputs are kept."""
        return self.directory / WORK_FOLDER

    @cached_property
    def cache(self) -> TeacherCache:
        """The teacher's outputs by text."""
        return TeacherCache(self.work / "teacher", self.teacher)

    @cached_property
    def steps(self) -> StepStore:
        """The finished steps of all recipes."""
        return StepStore(self.work / "steps")

    @cached_property
    def accuracy_limit(self) -> AccuracyFloor:
        """What a quantized artefact must keep of the teacher's quality on dev."""
        teacher = self.cache.dev_quality(self.splits, self.progress)
        return AccuracyFloor(self.splits.dev, self.splits.metric, self.limits.min_retention, teacher)

    @cached_property
    def front(self) -> Front:
        """What the candidates made so far show at first sight."""
        reference = self.accuracy_limit.teacher or 0.0
        return Front(self.splits, reference, self.limits.min_retention, self.options.threads, self.say)
