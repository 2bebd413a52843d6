"""The search for an architecture: a supernet trained once, its layers timed once, and what was evaluated."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from imbik.errors import UserError
from imbik.jobs.fingerprints import key_of
from imbik.jobs.lines import append_line, read_lines
from imbik.jobs.progress import Progress
from imbik.jobs.workspace import WORK_FOLDER
from imbik.machine import physical_cores
from imbik.methods.registry import make_method
from imbik.models.teacher import Teacher
from imbik.pruning.table import Architecture, Table
from imbik.search.candidate import Candidate
from imbik.search.costs import INT8, costs_for, given_table
from imbik.search.options import SearchOptions
from imbik.search.sandwich import scored, train_supernet
from imbik.search.space import Decisions
from imbik.search.strategies import check_strategy, strategy_of
from imbik.search.supernet import Supernet
from imbik.students.catalogue import make_student
from imbik.tasks.registry import task_of
from imbik.training.context import Context
from imbik.training.encoding import encode_for
from imbik.training.prediction import dev_quality
from imbik.training.teacher_cache import TeacherCache
from imbik.types import Splits

Say = Callable[[str], None]

_FAR = 0.25
"""Share over the limits beyond which an architecture is not looked at."""


class Study:
    """One search: its supernet, its table, and what was evaluated."""

    def __init__(
        self, supernet: Supernet, table: Table, quality: Callable[[Architecture], float], folder: Path, options: SearchOptions
    ) -> None:
        self.supernet, self.table, self.quality, self.folder, self.options = supernet, table, quality, folder, options
        self.log = folder / "evaluations.jsonl"
        self.known: dict[Decisions, float] = dict(read_lines(self.log, self._entry))
        self.interrupted = False
        """Whether the user stopped it."""

    @classmethod
    def begin(cls, teacher: Teacher, splits: Splits, directory: Path, options: SearchOptions, progress: Progress, say: Say) -> Study:
        """Train the supernet and time its layers, or find both finished.

        Raises:
            UserError: a model without a supernet, a table of another one, or a teacher of whose quality there is no share.
        """
        check_strategy(options.strategy)
        # limits, strategy and number are no part of the key: what is evaluated holds for all of them
        settings = {"supernet": asdict(options.supernet), "vocabulary": options.vocabulary, "seed": options.seed}
        key = key_of({"teacher": teacher.fingerprint, "data": splits.fingerprint, "metric": splits.metric, **settings})
        work = directory / WORK_FOLDER / "search" / key
        cache = TeacherCache(work / "teacher", teacher)
        context = Context(teacher, splits, cache, options.seed, progress, work / "training", work / "shared", options.save_every)
        student = make_student(None, teacher, splits.train, options.seed)
        if options.vocabulary:
            student = make_method({"vocabulary": {}}, "search").apply(student, context)
        supernet = Supernet.of(student, context)
        say(f"a space of {supernet.space.size:,} architectures")
        # what is refused is refused now, and not after the training
        given = None if options.table is None else given_table(supernet, options.table)
        whole = reference(cache, splits, progress)
        train_supernet(supernet, context, options.supernet)
        threads = options.threads or physical_cores()
        table = costs_for(supernet, splits.dev, work, directory, given, threads, progress, say)
        return cls(supernet, table, _judge(supernet, splits, whole), work, options)

    def look(self, began: float, found: Callable[[], None]) -> bool:
        """Evaluate what the strategy asks for; return whether all evaluations were made.

        Args:
            began: when the minutes began.
            found: called where one is better than all before it.
        """
        limits = self.options.limits
        best: Candidate | None = None
        try:
            for candidate in self.asked(began):
                if candidate is None:
                    return False
                if best is None or candidate.rank(limits) > best.rank(limits):
                    best = candidate
                    found()
        except KeyboardInterrupt:
            self.interrupted = True
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
        self.look_at_one()
        return max(self.candidates(), key=lambda one: one.rank(self.options.limits))

    def look_at_one(self) -> None:
        """Evaluate the smallest architecture where nothing was evaluated."""
        if not self.known:
            space = self.supernet.space
            self._evaluated(space.smallest, space.architecture(space.smallest))

    def candidates(self) -> list[Candidate]:
        """Return all that was ever evaluated, in the order of time."""
        return [
            Candidate(architecture := self.supernet.space.architecture(decisions), retention, self.table.cost(architecture))
            for decisions, retention in self.known.items()
        ]

    def document(self, architecture: Architecture) -> dict[str, Any]:
        """Return the recipe that makes an architecture of the teacher, as YAML has it."""
        first: list[dict[str, Any]] = [{"vocabulary": {}}] if self.options.vocabulary else []
        steps = [*first, architecture.step(), {"distill": self.options.distill}, INT8]
        # of all that makes it: with and without the unused word pieces one architecture is two recipes
        return {"name": f"pruned-{key_of({'steps': steps})[:8]}", "steps": steps, "seed": self.options.seed}

    def _entry(self, entry: Any) -> tuple[Decisions, float]:
        """Return what a line of the log says.

        Raises:
            ValueError: it is none of this search's.
        """
        retention = float(entry["retention"])
        if not math.isfinite(retention):
            raise ValueError(f"a retention of {retention}")
        return self.supernet.space.checked(entry["decisions"]), retention

    def _evaluated(self, decisions: Decisions, architecture: Architecture) -> float:
        """Return the share of the teacher's dev quality, computed once and kept on disk."""
        if decisions not in self.known:
            value = self.quality(architecture)
            # on disk before it counts: what was told to the strategy must be known after a kill
            append_line(self.log, {"decisions": decisions, "retention": value})
            self.known[decisions] = value
        return self.known[decisions]


def _judge(supernet: Supernet, splits: Splits, whole: float) -> Callable[[Architecture], float]:
    """Return a function of an architecture: the share of the teacher's dev quality that it keeps as a part of the supernet."""
    judge = dev_quality(splits, encode_for(splits.task, splits.dev, supernet.checkpoint.tokenizer))
    kept = task_of(splits.task).metric(splits.metric).kept

    def quality(architecture: Architecture) -> float:
        share = kept(scored(supernet, architecture, judge), whole)
        # no number, such as a correlation of answers that are all alike, keeps nothing
        return share if share is not None and math.isfinite(share) else 0.0

    return quality


def reference(cache: TeacherCache, splits: Splits, progress: Progress) -> float:
    """Return the teacher's dev quality, of which candidates keep a share.

    Raises:
        UserError: there is no share of it, as of a correlation of 0 or below.
    """
    whole, metric = cache.dev_quality(splits, progress), task_of(splits.task).metric(splits.metric)
    if metric.kept(whole, whole) is None or not math.isfinite(whole):
        fix = "check the teacher with imbik measure, or choose another --metric"
        found = f"{splits.metric} {whole:.4f}"
        raise UserError("no share can be kept of a teacher whose quality on dev is not above 0", where="imbik search", found=found, fix=fix)
    return whole
