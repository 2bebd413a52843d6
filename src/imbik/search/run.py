"""The job: train a supernet once, time its layers once, and look for the best architecture under a budget."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from imbik.compress.run import compress
from imbik.errors import UserError
from imbik.jobs.files import replacing, write_json
from imbik.jobs.fingerprints import key_of
from imbik.jobs.paths import with_home
from imbik.jobs.progress import Progress
from imbik.jobs.workspace import WORK_FOLDER, locked
from imbik.measure.results import Results
from imbik.measure.values import Limits
from imbik.methods.registry import make_method
from imbik.models.teacher import Teacher
from imbik.recipes.recipe import parse_recipe
from imbik.search.candidate import Candidate
from imbik.search.costs import INT8, Table, table_of
from imbik.search.picture import refuse_picture, write_picture
from imbik.search.sandwich import Sandwich, scored, train_supernet
from imbik.search.space import Architecture, Decisions
from imbik.search.strategies import check_strategy, strategy_of
from imbik.search.supernet import Supernet
from imbik.students.catalogue import make_student
from imbik.tasks.registry import task_of
from imbik.training.context import Context
from imbik.training.encoding import encode_for
from imbik.training.prediction import dev_quality
from imbik.training.teacher_cache import TeacherCache
from imbik.types import Checkpoint, Splits

Say = Callable[[str], None]

_FAR = 0.25
"""Share over the limits beyond which an architecture is not looked at."""


@dataclass(frozen=True)
class SearchOptions:
    """How a search goes.

    Attributes:
        limits: what the winner must meet: the time of a single request, bytes, and the share of the teacher's dev quality.
        strategy: ``evolution``, ``controller`` or ``random``.
        evaluations: architectures that are looked at.
        minutes: none is looked at after this time.
        vocabulary: the word pieces that the task does not use go first.
        supernet: how the supernet is trained.
        distill: settings of the winner's ``distill`` step.
        seed: of everything random.
        threads: of the engine that times; None: the physical cores.
        save_every: seconds between training states on disk.
        make: distil, export and measure the winner.
        lang: of the picture, ``en`` or ``tr``.
    """

    limits: Limits = field(default_factory=Limits)
    strategy: str = "evolution"
    evaluations: int = 200
    minutes: float | None = None
    vocabulary: bool = True
    supernet: Sandwich = field(default_factory=Sandwich)
    distill: dict[str, Any] = field(default_factory=lambda: {"target_steps": 1500, "learning_rate": 3e-4})
    seed: int = 0
    threads: int | None = None
    save_every: float = 30.0
    make: bool = True
    lang: str = "en"


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        best: the best one so far.
        recipe: the file that makes it.
        looked_at: how many architectures were evaluated, those of earlier calls included.
        finished: whether all evaluations were made.
        results: of the winner, measured; None where it was not made.
    """

    best: Candidate
    recipe: Path
    looked_at: int
    finished: bool
    results: Results | None


def search(teacher: Checkpoint, splits: Splits, directory: Path, options: SearchOptions, *, progress: Progress, say: Say) -> Found:
    """Search; run again, it continues behind what is finished, under the same limits or others.

    Args:
        teacher: the model to compress.
        splits: the data; ``dev`` decides.
        directory: gets ``best.yaml``, ``best.json``, the picture ``search.html`` and, where the winner is made, ``run/``.

    Raises:
        UserError: an architecture that cannot be made smaller, an unknown strategy, or a task whose models read texts apart.
    """
    began = time.monotonic()
    if task_of(splits.task).apart:  # what it times are rows that a model reads as one
        fix = "name recipes with imbik compress --recipe, such as layers-3+int8"
        raise UserError("a search is not for models that read two texts apart", where="imbik search", found=splits.task, fix=fix)
    directory = with_home(directory)
    model = Teacher.of(teacher)
    with locked(directory):
        refuse_picture(directory)
        study = Study.begin(model, splits, directory, options, progress, say)
        finished = study.look(began)
        best = study.best()
        recipe = study.publish(best)
        say(f"the search as a picture: {write_picture(study.candidates(), best, options.limits, directory, options.lang)}")
    # outside the lock: compress takes one of its own, of a folder inside this one
    results = None
    if finished and options.make:
        say(f"making the winner: {recipe}")
        results = compress(
            model,
            splits,
            directory / "run",
            recipes=[recipe],
            limits=options.limits,
            threads=options.threads,
            lang=options.lang,
            progress=progress,
            say=say,
        )
    return Found(best, recipe, len(study.known), finished, results)


class Study:
    """One search: its supernet, its table, and what was evaluated."""

    def __init__(
        self, supernet: Supernet, table: Table, quality: Callable[[Architecture], float], folder: Path, options: SearchOptions
    ) -> None:
        self.supernet, self.table, self.quality, self.folder, self.options = supernet, table, quality, folder, options
        self.known: dict[Decisions, float] = {}
        self.log = folder / "evaluations.jsonl"
        self._read()

    @classmethod
    def begin(cls, teacher: Teacher, splits: Splits, directory: Path, options: SearchOptions, progress: Progress, say: Say) -> Study:
        """Train the supernet and time its layers, or find both finished."""
        check_strategy(options.strategy)
        # limits, strategy and number are no part of the key: what is evaluated holds for all of them
        settings = {"supernet": asdict(options.supernet), "vocabulary": options.vocabulary, "seed": options.seed}
        work = directory / WORK_FOLDER / "search" / key_of({"teacher": teacher.fingerprint, "data": splits.fingerprint, **settings})
        cache = TeacherCache(work / "teacher", teacher)
        context = Context(teacher, splits, cache, options.seed, progress, work / "training", work / "shared", options.save_every)
        student = make_student(None, teacher, splits.train, options.seed)
        if options.vocabulary:
            student = make_method({"vocabulary": {}}, "search").apply(student, context)
        supernet = Supernet.of(student, context)
        say(f"a space of {supernet.space.size:,} architectures")
        train_supernet(supernet, context, options.supernet)
        dev = encode_for(splits.task, splits.dev, supernet.checkpoint.tokenizer)
        judge = dev_quality(splits, dev)
        whole = cache.dev_quality(splits, progress)
        table = table_of(supernet, splits.dev, work, options.threads or 1, progress)
        merit = task_of(splits.task).metric(splits.metric).merit

        def quality(architecture: Architecture) -> float:
            value = scored(supernet, architecture, judge)
            # an error (rmse) is kept where it does not grow
            return value / whole if merit(1.0) > 0 else whole / max(value, 1e-12)

        return cls(supernet, table, quality, work, options)

    def look(self, began: float) -> bool:
        """Evaluate what the strategy asks for; return whether all evaluations were made."""
        limits = self.options.limits
        best: Candidate | None = None
        try:
            for candidate in self.asked(began):
                if candidate is None:
                    return False
                if best is None or candidate.rank(limits) > best.rank(limits):
                    best = candidate
                    self.publish(self.best())
        except KeyboardInterrupt:
            return False
        return True

    def asked(self, began: float) -> Iterator[Candidate | None]:
        """Yield what the strategy asks for, evaluated; None, the last one, when the time is up.

        What is known is told again, in the order in which it was found: a strategy is a function of what it was told, so that a search
        goes on where it was.

        Args:
            began: when the minutes began.
        """
        options, limits, space = self.options, self.options.limits, self.supernet.space
        strategy = strategy_of(options.strategy, space, options.seed)
        evaluated: set[Decisions] = set()
        # most asks may be refused by the table: the loop ends all the same
        for _ in range(20 * options.evaluations):
            if len(evaluated) >= options.evaluations:
                return
            decisions = strategy.ask()
            architecture = space.architecture(decisions)
            candidate = Candidate(architecture, 0.0, self.table.cost(architecture))
            over = candidate.violation(limits)
            # what is far too slow or large need not be looked at; the smallest is, whatever the limits
            if over > _FAR and decisions != space.smallest:
                strategy.tell(decisions, -over)
                continue
            if decisions not in self.known and options.minutes is not None and time.monotonic() - began > 60 * options.minutes:
                yield None
                return
            candidate = replace(candidate, retention=self._evaluated(decisions, architecture))
            evaluated.add(decisions)
            strategy.tell(decisions, candidate.retention - over)
            yield candidate

    def best(self) -> Candidate:
        """Return the best of all that was ever evaluated, under these limits; the smallest architecture where nothing was."""
        space = self.supernet.space
        if not self.known:
            self._evaluated(space.smallest, space.architecture(space.smallest))
        return max(self.candidates(), key=lambda one: one.rank(self.options.limits))

    def candidates(self) -> list[Candidate]:
        """Return all that was ever evaluated, in the order of time."""
        return [
            Candidate(architecture := self.supernet.space.architecture(decisions), retention, self.table.cost(architecture))
            for decisions, retention in self.known.items()
        ]

    def publish(self, best: Candidate) -> Path:
        """Write the best so far where a user finds it: as a recipe that ``imbik compress`` takes, and as numbers."""
        out = self.folder.parents[2]
        first: list[dict[str, Any]] = [{"vocabulary": {}}] if self.options.vocabulary else []
        steps = [*first, best.architecture.step(), {"distill": self.options.distill}, INT8]
        recipe = {"name": "best", "steps": steps, "seed": self.options.seed}
        text = yaml.safe_dump(recipe, sort_keys=False)
        parse_recipe(text, "best.yaml")
        with replacing(out / "best.yaml") as temporary:
            temporary.write_text(text, encoding="utf-8")
        write_json(out / "best.json", {**asdict(best), "violation": best.violation(self.options.limits), "looked_at": len(self.known)})
        return out / "best.yaml"

    def _evaluated(self, decisions: Decisions, architecture: Architecture) -> float:
        """Return the share of the teacher's dev quality, computed once and kept on disk."""
        if decisions not in self.known:
            value = self.quality(architecture)
            with self.log.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"decisions": decisions, "retention": value}) + "\n")
                # on disk before it counts: what was told to the strategy must be known after a kill
                file.flush()
                os.fsync(file.fileno())
            self.known[decisions] = value
        return self.known[decisions]

    def _read(self) -> None:
        """Read what earlier calls evaluated; a line that a kill left half is cut off."""
        if not self.log.is_file():
            return
        whole = self.log.read_bytes()
        end = whole.rfind(b"\n") + 1
        if end < len(whole):
            with self.log.open("r+b") as file:
                file.truncate(end)
        for line in whole[:end].decode("utf-8").splitlines():
            entry = json.loads(line)
            self.known[tuple(entry["decisions"])] = float(entry["retention"])
